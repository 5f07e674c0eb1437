"""Connections in memory: two transports that hand each other bytes, each in its side's life."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from types import SimpleNamespace
from typing import Any, Protocol

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_proto import ResponseHandler
from anyio._backends._asyncio import SocketStream, StreamProtocol
from anyio.abc import SocketAttribute


class Listener(Protocol):
    """Who answers at the other end."""

    context: Context

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection.

        Raises:
            ConnectionRefusedError: nobody listens.
        """

    def latency(self) -> float:
        """Seconds that a piece takes."""


class MemoryTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: Any,
        context: Context,
        latency: Callable[[], float],
    ) -> None:
        super().__init__()
        self._loop = loop
        self.protocol = protocol
        self.context = context
        self.latency = latency
        self.peer: MemoryTransport | None = None
        self._closing = self._paused = self._lost = self._ended = False
        self._arriving: deque[bytes | None] = deque()
        self._last_at = 0.0

    # What the own protocol calls.

    def write(self, data: Any) -> None:
        """Bytes for the peer."""
        if not self._closing and data:
            self._send(bytes(data))

    def writelines(self, data: Any) -> None:
        """Several pieces as one."""
        self.write(b"".join(data))

    def can_write_eof(self) -> bool:
        """A half-close is possible."""
        return True

    def write_eof(self) -> None:
        """Half-close."""
        self._send(None)

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def close(self) -> None:
        """Close in order."""
        if not self._closing:
            self._closing = True
            self._send(None)
            self._loop.call_soon(self._lose, None, context=self.context)

    def abort(self) -> None:
        """Close at once: what was sent arrives, what came is dropped."""
        self._arriving.clear()
        self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing is known."""
        return default

    def set_protocol(self, protocol: Any) -> None:
        """Another protocol takes over."""
        self.protocol = protocol

    def get_protocol(self) -> Any:
        """Who is told what arrives."""
        return self.protocol

    def is_reading(self) -> bool:
        """Whether what arrives is handed on."""
        return not self._paused

    def pause_reading(self) -> None:
        """Keep what arrives."""
        self._paused = True

    def resume_reading(self) -> None:
        """Hand on what arrives."""
        self._paused = False
        self._loop.call_soon(self._deliver, context=self.context)

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There are none."""

    # What the connection does.

    def begin(self) -> None:
        """Tell the protocol that it is connected."""
        self.context.run(self.protocol.connection_made, self)

    def cut(self) -> None:
        """Break both ends off, as a process that dies does."""
        for end in (self, self.peer):
            if end is not None and not end._lost:
                end._closing = True
                end._arriving.clear()
                error = ConnectionResetError("the connection was cut")
                self._loop.call_soon(end._lose, error, context=end.context)

    def _send(self, data: bytes | None) -> None:
        peer = self.peer
        assert peer is not None
        if self._ended:
            return
        self._ended = data is None
        # In order, though each piece takes its own time: timers of one moment have no order.
        self._last_at = max(self._last_at + 1e-9, self._loop.time() + self.latency())
        self._loop.call_at(self._last_at, peer._arrive, data, context=peer.context)

    def _arrive(self, data: bytes | None) -> None:
        if not self._lost:
            self._arriving.append(data)
            self._deliver()
        elif data is not None:  # nobody is there any more
            self.cut()

    def _deliver(self) -> None:
        while self._arriving and not self._paused and not self._lost:
            data = self._arriving.popleft()
            if data is not None:
                self.protocol.data_received(data)
            elif not self.protocol.eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self.protocol.connection_lost(error)


def connector_class(listener: Listener, own: list[MemoryTransport]) -> type[aiohttp.BaseConnector]:
    """What takes the place of ``aiohttp.UnixConnector``.

    Args:
        listener: whom it reaches.
        own: gets the connecting ends.
    """

    class MemoryConnector(aiohttp.BaseConnector):
        allowed_protocol_schema_set = aiohttp.UnixConnector.allowed_protocol_schema_set

        def __init__(self, path: str, **options: Any) -> None:
            super().__init__(**options)
            self._path = path

        async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
            await asyncio.sleep(listener.latency())
            asking = self._factory()
            try:
                join(listener, asking, own)
            except OSError as error:
                raise UnixClientConnectorError(self._path, req.connection_key, error) from error
            return asking

    return MemoryConnector


def join(
    listener: Listener, asking: asyncio.Protocol, own: list[MemoryTransport]
) -> MemoryTransport:
    """Connect.

    Args:
        listener: whom.
        asking: the protocol of this end.
        own: gets this end, which is returned too.

    Raises:
        ConnectionRefusedError: nobody listens.
    """
    loop = asyncio.get_running_loop()
    answering = listener.context.run(listener.accept)
    near = MemoryTransport(loop, asking, copy_context(), listener.latency)
    far = MemoryTransport(loop, answering, listener.context, listener.latency)
    near.peer, far.peer = far, near
    own[:] = [one for one in own if not one._lost]
    own.append(near)
    far.begin()
    near.begin()
    return near


class MemoryStream(SocketStream):
    """anyio's own stream on such a transport."""

    @property
    def extra_attributes(self) -> Any:
        """A socket that takes any option."""
        return {SocketAttribute.raw_socket: lambda: SimpleNamespace(setsockopt=lambda *_: None)}


async def connect(listener: Listener, own: list[MemoryTransport]) -> MemoryStream:
    """A stream to a listener; see :func:`join`."""
    await asyncio.sleep(listener.latency())
    protocol = StreamProtocol()
    return MemoryStream(join(listener, protocol, own), protocol)


class Door:
    """A listener whose streams are taken from a queue.

    Args:
        context: of who takes them.
        own: gets the taken ends.
        latency: see :class:`Listener`.
    """

    def __init__(
        self, context: Context, own: list[MemoryTransport], latency: Callable[[], float]
    ) -> None:
        self.context = context
        self.latency = latency
        self._own = own
        self.arrived: asyncio.Queue[MemoryStream] = asyncio.Queue()
        self._open = True

    def accept(self) -> asyncio.Protocol:
        """See :class:`Listener`."""
        if not self._open:
            raise ConnectionRefusedError(111, "Connection refused")
        door = self

        class Guest(StreamProtocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                door._own.append(transport)
                door.arrived.put_nowait(MemoryStream(transport, self))

        return Guest()

    def close(self) -> None:
        """No more of them."""
        self._open = False
