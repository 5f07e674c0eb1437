"""Channels over a WebSocket: drives the channel protocols, and gives their streams."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
from wsproto.frame_protocol import CloseReason

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.streaming import channels
from asupervisor.streaming.inbox import Inbox
from asupervisor.streaming.peer import Backpressure
from asupervisor.streaming.websocket import WebSocket

SEND_CHUNK_BYTES = 32 * 1024
"""Longest message that is sent."""


class ChannelStream:
    """One channel; see :class:`asupervisor.streaming.peer.PeerStream` for its methods."""

    def __init__(self, session: ChannelSession, channel: int) -> None:
        self._session = session
        self._write_closed = False
        self.channel = channel
        self.inbox = Inbox(partial(session.on_read, self))

    async def receive(self) -> bytes:
        """The next bytes."""
        return await self.inbox.read()

    async def send(self, data: bytes) -> None:
        """Send bytes; an empty message announces the channel."""
        for start in range(0, len(data) or 1, SEND_CHUNK_BYTES):
            await self._session.websocket.outbox.room()
            if self._write_closed or self._session.ended.is_set():
                raise anyio.BrokenResourceError(f"channel {self.channel} is closed for writing")
            self._session.put(self.channel, data[start : start + SEND_CHUNK_BYTES])
        await anyio.lowlevel.cancel_shielded_checkpoint()

    async def send_eof(self) -> None:
        """Half-close, if the protocol can and the peer is a server."""
        if not self._write_closed:
            self._write_closed = True
            self._session.put_close(self.channel)
        await anyio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """Stop reading and writing the channel."""
        await self.send_eof()
        self.inbox.fail("the channel was reset here", drop=True)


class ChannelSession:
    """Drives one connection. Use as an async context manager; the end of the peer sets
    :attr:`ended`.

    Args:
        websocket: the connection, entered.
        protocol: what was negotiated.
        readable: the channels that the peer may send on; data on others is dropped.
        writable: the channels that this side sends on.
        client: which end this is.
        buffer_bytes: bytes that may wait in one channel, and in all of them; beyond that the peer
            is not read.
    """

    def __init__(
        self,
        websocket: WebSocket,
        protocol: channels.ChannelProtocol,
        *,
        readable: Iterable[int],
        writable: Iterable[int],
        client: bool = False,
        buffer_bytes: int = 128 * 1024,
    ) -> None:
        self.websocket = websocket
        self.protocol = protocol
        self.streams = {channel: ChannelStream(self, channel) for channel in {*readable, *writable}}
        self.ended = anyio.Event()
        """Set when the peer is gone or was sent away."""
        self.last_data = anyio.current_time()
        """When a data byte last moved, either way, on the loop's clock."""
        self.violation: str = ""
        """How the peer broke the protocol, if it did."""
        self._readable = frozenset(readable)
        self._client = client
        self._backpressure = Backpressure(
            None if client else websocket.stream, buffer_bytes, buffer_bytes
        )
        self._decoder = channels.ChannelDecoder(protocol)
        self._tasks = BackgroundTasks()

    async def __aenter__(self) -> ChannelSession:
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._read)
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        try:
            return await self._tasks.__aexit__(*error)
        finally:
            self._end("the connection is closed")

    def put(self, channel: int, data: bytes) -> None:
        """Queue one message for a channel."""
        self.last_data = anyio.current_time()
        self.websocket.put(channels.encode(self.protocol, channel, data), text=self.protocol.base64)

    def put_close(self, channel: int) -> None:
        """Queue a half-close. A server never sends one: clients of v5 do not expect it."""
        if self.protocol.closes_channels and self._client:
            self.websocket.put(channels.encode_close(channel))

    def on_read(self, stream: ChannelStream, count: int) -> None:
        """Bytes left a channel's inbox."""
        self._backpressure.give(stream.channel, stream.inbox, count)

    async def goodbye(self) -> None:
        """Send what waits, then close in order."""
        if not self.violation:
            await self.websocket.close()
        else:
            await self.websocket.close(CloseReason.PROTOCOL_ERROR, self.violation)

    async def _read(self) -> None:
        reason = "the peer closed the connection"
        try:
            while await self._backpressure.wait(self.websocket.pong):
                piece = await self.websocket.receive()
                for event in self._decoder.feed(
                    piece.data, text=piece.text, finished=piece.finished
                ):
                    self._on_event(event)
        except anyio.EndOfStream:
            if self.websocket.close_code == CloseReason.NORMAL_CLOSURE:
                for stream in self.streams.values():
                    stream.inbox.feed_eof()
        except anyio.BrokenResourceError as error:
            reason = str(error) or "the connection broke"
        except channels.ChannelError as error:
            reason = self.violation = str(error)
        finally:
            self._end(reason)

    def _on_event(self, event: channels.ChannelData | channels.ChannelClosed) -> None:
        stream = self.streams.get(event.channel) if event.channel in self._readable else None
        if stream is None:
            return
        if isinstance(event, channels.ChannelClosed):
            stream.inbox.feed_eof()
        elif event.data:
            self.last_data = anyio.current_time()
            if stream.inbox.feed(event.data):
                self._backpressure.take(stream.channel, stream.inbox, len(event.data))

    def _end(self, reason: str) -> None:
        self.ended.set()
        for stream in self.streams.values():
            stream.inbox.fail(reason)
