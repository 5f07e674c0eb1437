"""A SPDY connection over a byte stream: drives the state machine, and gives its streams."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.streaming import spdy
from asupervisor.streaming.inbox import Inbox
from asupervisor.streaming.loop_turns import UNITS_PER_TURN, Patience, turns
from asupervisor.streaming.outbox import Outbox
from asupervisor.streaming.peer import Backpressure
from asupervisor.streaming.spdy.headers import Headers

READ_BYTES = 64 * 1024
SEND_CHUNK_BYTES = 64 * 1024
"""Longest DATA frame that is sent, so that every stream gets its turn."""
CONTROL_BACKLOG_BYTES = 64 * 1024
"""Bytes of answers (to pings, to invalid frames) that may wait; beyond that the peer is not read.
"""


class SpdyStream:
    """One stream; see :class:`asupervisor.streaming.peer.PeerStream` for its methods."""

    def __init__(self, session: SpdySession, stream_id: int, headers: Headers) -> None:
        self._session = session
        self._window = anyio.Event()
        self._write_closed = False
        self.is_lost = False
        """Whether one side has ended the stream or the whole connection."""
        self.replied = anyio.Event()
        """Set when the peer has accepted a stream that this side opened, or the stream has ended.
        """
        self.accepted = False
        """Whether the peer has accepted it."""
        self.id = stream_id
        self.headers = headers
        self.inbox = Inbox(partial(session.on_read, self))

    async def receive(self) -> bytes:
        """The next bytes."""
        return await self.inbox.read()

    async def send(self, data: bytes) -> None:
        """Send bytes within the peer's window."""
        start, end = 0, len(data)
        while start < end:
            await self._session.outbox.room()
            if self.is_lost or self._write_closed:
                raise anyio.BrokenResourceError(f"stream {self.id} is closed for writing")
            capacity = min(self._session.connection.send_capacity(self.id), SEND_CHUNK_BYTES)
            if capacity <= 0:
                self._window = anyio.Event()
                await self._window.wait()
                continue
            self._session.connection.send_data(self.id, data[start : start + capacity])
            self._session.push()
            start += capacity
        await anyio.lowlevel.cancel_shielded_checkpoint()

    async def send_eof(self) -> None:
        """Half-close; may be called again."""
        if not self._write_closed and not self.is_lost:
            self._write_closed = True
            self._session.connection.send_data(self.id, b"", fin=True)
            self._session.push()
        await anyio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """RST_STREAM, unless the stream is closed already."""
        self.abort("the stream was reset here")
        await anyio.lowlevel.checkpoint()

    def abort(self, reason: str, code: spdy.ResetCode = spdy.ResetCode.CANCEL) -> None:
        """:meth:`reset` without waiting."""
        self._session.connection.reset(self.id, code)
        self._session.push()
        self.lost(reason)

    def lost(self, reason: str, *, drop: bool = True) -> None:
        """Note that the stream has ended in both directions; ``drop`` also drops the bytes that
        wait in it.
        """
        self.is_lost = True
        self.inbox.fail(reason, drop=drop)
        self.replied.set()
        self.wake()

    def wake(self) -> None:
        """Let a sender look at its window again."""
        self._window.set()


class SpdySession:
    """Drives one connection. Use as an async context manager; the end of the peer sets
    :attr:`ended`.

    Args:
        stream: the connection after the HTTP upgrade (or a WebSocket tunnel).
        role: which end this is.
        limits: bounds for the peer.
        received: bytes after the HTTP head that were read already.
    """

    def __init__(
        self,
        stream: anyio.abc.ByteStream,
        role: spdy.Role,
        limits: spdy.Limits | None = None,
        received: bytes = b"",
    ) -> None:
        self.connection = spdy.Connection(role, limits)
        self.outbox = Outbox(stream)
        self.streams: dict[int, SpdyStream] = {}
        self.ended = anyio.Event()
        """Set when the peer is gone or was sent away."""
        self.last_data = anyio.current_time()
        """When a data byte last moved, either way, on the loop's clock."""
        self.violation: str = ""
        """How the peer broke the protocol, if it did."""
        self._stream = stream
        self._received = received
        limits = self.connection.limits
        self._backpressure = Backpressure(
            stream if role is spdy.Role.SERVER else None,
            limits.session_window,
            limits.stream_window,
        )
        self._accept_send, self._accept_receive = anyio.create_memory_object_stream[SpdyStream](
            limits.streams
        )
        self._answered = 0
        self._empty = 0
        self._patience = Patience()
        self._tasks = BackgroundTasks()

    async def __aenter__(self) -> SpdySession:
        await self._tasks.__aenter__()
        self._tasks.start_soon(self.outbox.run)
        self._tasks.start_soon(self._read)
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        self.outbox.stop()
        try:
            return await self._tasks.__aexit__(*error)
        finally:
            self._end("the connection is closed")
            self._accept_receive.close()

    async def accept(self) -> SpdyStream:
        """The next stream that the peer opens; reply to it, or reset it.

        Raises:
            anyio.EndOfStream: the peer is gone.
        """
        return await self._accept_receive.receive()

    def open(self, headers: Headers) -> SpdyStream:
        """Open a stream.

        Raises:
            anyio.BrokenResourceError: the connection takes no new streams.
        """
        try:
            stream_id = self.connection.open_stream(headers)
        except spdy.LocalProtocolError as error:
            raise anyio.BrokenResourceError(str(error)) from error
        stream = self.streams[stream_id] = SpdyStream(self, stream_id, headers)
        self.push()
        return stream

    def reply(self, stream: SpdyStream) -> None:
        """Take a stream that :meth:`accept` gave."""
        if not stream.is_lost:
            self.connection.reply(stream.id)
            self.push()

    def release(self, stream: SpdyStream, code: spdy.ResetCode = spdy.ResetCode.CANCEL) -> None:
        """Forget a stream that is not used any more; if it is still open, reset it."""
        self.streams.pop(stream.id, None)
        stream.abort("the stream was released", code)

    def push(self) -> None:
        """Give the writer what the state machine wants to send."""
        self.last_data = anyio.current_time()
        self.outbox.put(self.connection.data_to_send())

    def on_read(self, stream: SpdyStream, count: int) -> None:
        """Bytes left a stream's inbox: let the peer send as many more."""
        self._backpressure.give(stream.id, stream.inbox, count)
        self.connection.consume(stream.id, count)
        self.push()

    async def goodbye(self) -> None:
        """Send GOAWAY after everything that waits, unless the peer is gone."""
        if not self.violation:
            self.connection.goaway()
            self.push()
        with contextlib.suppress(anyio.BrokenResourceError):
            await self.outbox.flush()

    async def _read(self) -> None:
        reason = "the peer closed the connection"
        try:
            data = self._received or await self._stream.receive(READ_BYTES)
            turn = turns()
            while True:
                self.connection.feed(data)
                while self.connection.pending:
                    await turn.take()
                    for event in self.connection.step(UNITS_PER_TURN):
                        self._on_event(event)
                    if self.connection.peer_is_paced:
                        self.connection.send_settings()
                    self._check_flood()
                    await self._answer()
                if not await self._backpressure.wait():
                    return
                data = await self._stream.receive(READ_BYTES)
        except anyio.EndOfStream:
            pass
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            reason = "the connection broke"
        except spdy.RemoteProtocolError as error:
            reason = self.violation = str(error)
            self.push()
        finally:
            self._end(reason)

    def _check_flood(self) -> None:
        before, self._empty = self._empty, self.connection.empty_frames
        if not self._patience.spend(self._empty - before):
            self.connection.give_up()
            raise spdy.RemoteProtocolError("a flood of frames that carry nothing")

    async def _answer(self) -> None:
        """Queue the answers to the peer's frames; a peer that does not read is not read any
        further.
        """
        answers = self.connection.data_to_send()
        self.outbox.put(answers)
        self._answered += len(answers)
        if self._answered > CONTROL_BACKLOG_BYTES:
            # Wait only for the answers, not for data: two ends could wait for each other.
            await self.outbox.passed(self.outbox.put_bytes)
            self._answered = 0

    def _on_event(self, event: spdy.Event) -> None:
        match event:
            case spdy.DataReceived():
                self._on_data(event)
            case spdy.WindowOpened():
                one = self.streams.get(event.stream_id)
                for stream in [one] if one is not None else list(self.streams.values()):
                    stream.wake()
            case spdy.StreamOpened():
                self._on_opened(event)
            case spdy.HeadersReceived():
                if (replied := self.streams.get(event.stream_id)) is not None:
                    replied.accepted = True
                    replied.replied.set()
                    if event.fin:
                        replied.inbox.feed_eof()
            case spdy.StreamReset():
                if (ended := self.streams.pop(event.stream_id, None)) is not None:
                    what = "reset" if event.by_peer else "broke the protocol on"
                    # Kubernetes servers reset their streams right after the last data, which has to
                    # be read.
                    ended.lost(f"the peer {what} the stream", drop=not event.by_peer)
            case _:
                pass

    def _on_data(self, event: spdy.DataReceived) -> None:
        stream, size = self.streams.get(event.stream_id), len(event.data)
        self.last_data = anyio.current_time()
        if stream is None or (size and not stream.inbox.feed(event.data)):
            self.connection.consume(event.stream_id, size)
            return
        if size:
            self._backpressure.take(stream.id, stream.inbox, size)
        if event.fin:
            stream.inbox.feed_eof()

    def _on_opened(self, event: spdy.StreamOpened) -> None:
        stream = SpdyStream(self, event.stream_id, event.headers)
        if event.unidirectional:
            # No Kubernetes protocol has such streams, and they cannot be replied to.
            self.release(stream, spdy.ResetCode.REFUSED_STREAM)
            return
        self.streams[event.stream_id] = stream
        if event.fin:
            stream.inbox.feed_eof()
        try:
            self._accept_send.send_nowait(stream)
        except anyio.WouldBlock:
            self.release(stream, spdy.ResetCode.REFUSED_STREAM)

    def _end(self, reason: str) -> None:
        """The peer sends no more: wake every task that waits for it."""
        self.ended.set()
        self._accept_send.close()
        for stream in list(self.streams.values()):
            stream.lost(reason, drop=False)
