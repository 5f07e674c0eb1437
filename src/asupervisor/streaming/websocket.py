"""WebSocket messages over a byte stream, by wsproto, after the HTTP upgrade; and a byte stream
inside WebSocket messages.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.streaming.loop_turns import Patience, turns
from asupervisor.streaming.outbox import Outbox

READ_BYTES = 64 * 1024
CONTROL_BACKLOG_BYTES = 64 * 1024
"""Bytes of answers to pings that may wait; beyond that the peer is not read."""


FRAMES_PER_TURN = 16
"""Frames of one step; wsproto takes some 10 to 20 µs for each."""


@dataclass(slots=True)
class Piece:
    """Some or all of a message."""

    data: bytes
    text: bool
    finished: bool


class WebSocket:
    """One WebSocket connection. Use as an async context manager; only :meth:`close` sends a close
    frame, leaving the context does not.

    Args:
        stream: the connection after the HTTP upgrade.
        client: which end this is; a client masks what it sends.
        received: bytes after the HTTP head that were read already.
    """

    def __init__(
        self, stream: anyio.abc.ByteStream, *, client: bool, received: bytes = b""
    ) -> None:
        self.stream = stream
        self.outbox = Outbox(stream)
        self.close_code: int | None = None
        """The code of the peer's close frame; None before that came."""
        self._connection = Connection(
            ConnectionType.CLIENT if client else ConnectionType.SERVER, trailing_data=received
        )
        self._pieces: deque[Piece] = deque()
        self._answered = 0
        self._unparsed = bool(received)
        self._patience = Patience()
        self._tasks = BackgroundTasks()

    async def __aenter__(self) -> WebSocket:
        await self._tasks.__aenter__()
        self._tasks.start_soon(self.outbox.run)
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        self.outbox.stop()
        return await self._tasks.__aexit__(*error)

    async def receive(self) -> Piece:
        """The next piece of a message; pings are answered on the way.

        Raises:
            anyio.EndOfStream: the peer closed in order; see :attr:`close_code`.
            anyio.BrokenResourceError: the connection is gone, or the peer broke the protocol.
        """
        while not self._pieces:
            if self.close_code is not None:
                raise anyio.EndOfStream
            if self._answered > CONTROL_BACKLOG_BYTES:
                await self.outbox.flush()
                self._answered = 0
            if not self._unparsed:
                await self._read()
            await turns().take()
            self._unparsed = self._collect()
        return self._pieces.popleft()

    async def _read(self) -> None:
        try:
            data = await self.stream.receive(READ_BYTES)
        except anyio.EndOfStream:
            raise anyio.BrokenResourceError(
                "the peer closed the connection without a close frame"
            ) from None
        except anyio.ClosedResourceError as error:
            raise anyio.BrokenResourceError("the connection is closed") from error
        self._connection.receive_data(data)

    def put(self, data: bytes, *, text: bool = False) -> None:
        """Queue one message without waiting; nothing once a close was sent or received."""
        if self._connection.state is ConnectionState.OPEN:
            message = TextMessage(data.decode("ascii")) if text else BytesMessage(data)
            self.outbox.put(self._connection.send(message))

    def pong(self) -> None:
        """Queue an unsolicited pong, unless other bytes wait: it shows that this side is alive
        (RFC 6455, 5.5.3).
        """
        if self._connection.state is ConnectionState.OPEN and not self.outbox.waiting_bytes:
            self.outbox.put(self._connection.send(Pong()))

    async def close(self, code: int = CloseReason.NORMAL_CLOSURE, reason: str = "") -> None:
        """Send a close frame after everything that waits; do not wait for the peer's."""
        if self._connection.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._put_close(code, reason)
        with contextlib.suppress(anyio.BrokenResourceError):
            await self.outbox.flush()

    def _put_close(self, code: int, reason: str = "") -> None:
        close = CloseConnection(code=code, reason=reason[:120] or None)
        with contextlib.suppress(LocalProtocolError):
            self.outbox.put(self._connection.send(close))

    def _collect(self) -> bool:
        """Parse some frames. Returns whether there may be more in the bytes that came."""
        taken = empty = 0
        try:
            # wsproto parses a frame when the next event is asked for, so this loop bounds the step.
            for event in self._connection.events():
                taken += 1
                empty += not (isinstance(event, Message) and event.data)
                if isinstance(event, Message):
                    text = isinstance(event, TextMessage)
                    raw: Any = event.data
                    data = raw.encode() if text else bytes(raw)
                    self._pieces.append(Piece(data, text, event.message_finished))
                elif isinstance(event, Ping):
                    # Nothing follows a close of ours (RFC 6455, 5.5.1).
                    if self._connection.state is ConnectionState.OPEN:
                        answer = self._connection.send(event.response())
                        self._answered += len(answer)
                        self.outbox.put(answer)
                elif isinstance(event, CloseConnection):
                    self.close_code = event.code
                    if self._connection.state is ConnectionState.REMOTE_CLOSING:
                        self.outbox.put(self._connection.send(event.response()))
                    return False
                if taken == FRAMES_PER_TURN:
                    break
        except RemoteProtocolError as error:
            self._put_close(CloseReason.PROTOCOL_ERROR)
            raise anyio.BrokenResourceError(
                f"the peer broke the WebSocket protocol ({error})"
            ) from error
        if not self._patience.spend(empty):
            self._put_close(CloseReason.POLICY_VIOLATION)
            raise anyio.BrokenResourceError("a flood of frames that carry nothing")
        return taken == FRAMES_PER_TURN


class WebSocketByteStream(anyio.abc.ByteStream):
    """A byte stream in binary WebSocket messages: the tunnel for port-forward over SPDY.

    Args:
        websocket: the connection, entered.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._rest = b""

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        """The next bytes."""
        while not self._rest:
            piece = await self._websocket.receive()
            if piece.text:
                await self._websocket.close(CloseReason.UNSUPPORTED_DATA)
                raise anyio.BrokenResourceError("a text message in a SPDY tunnel")
            self._rest = piece.data
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    async def send(self, item: bytes) -> None:
        """Send bytes as one message."""
        await self._websocket.outbox.room()
        self._websocket.put(item)

    async def send_eof(self) -> None:
        """A tunnel has no half-close: SPDY closes its streams itself."""
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close in order."""
        await self._websocket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of the connection below."""
        return self._websocket.stream.extra_attributes
