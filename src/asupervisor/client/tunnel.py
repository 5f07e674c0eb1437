"""A way to a pod's ports: as a stream, or as a port of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from anyio.streams.stapled import MultiListener

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.errors import ServiceError, Unavailable
from asupervisor.listening import serve
from asupervisor.streaming.client import Forwarded, PortForwarder, open_port_forward
from asupervisor.streaming.port_forward import join

_FAILURE_S = 2.0
OnFailure = Callable[[int, str], None]


class PortStream(anyio.abc.ByteStream):
    """One connection to a port of a pod."""

    def __init__(self, connection: Forwarded) -> None:
        self._data = connection.data
        self._rest = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Bytes, until :class:`anyio.EndOfStream`."""
        data = self._rest or await self._data.receive()
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    async def send(self, item: bytes) -> None:
        """Send bytes."""
        await self._data.send(item)

    async def send_eof(self) -> None:
        """No more will come."""
        await self._data.send_eof()

    async def aclose(self) -> None:
        """Drop it."""
        await self._data.reset()


class Tunnel:
    """A tunnel into one pod; made by :func:`open_tunnel`."""

    def __init__(self, forwarder: PortForwarder, tasks: BackgroundTasks) -> None:
        self._forwarder = forwarder
        self._tasks = tasks

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[PortStream]:
        """Connect to a port; leaving the block closes the connection.

        Raises:
            Unavailable: the server takes no more, or is gone.
        """
        async with self._forwarder.connect(port) as connection:
            yield PortStream(connection)

    async def listen(
        self,
        port: int,
        local_port: int = 0,
        local_host: str = "127.0.0.1",
        on_failure: OnFailure = lambda port, message: None,
    ) -> int:
        """Listen here as long as the tunnel is open, and return the port.

        Args:
            port: of the pod.
            local_port: of this machine; 0 for one that is free.
            local_host: the address to listen on.
            on_failure: told the pod's port and what went wrong with a connection.

        Raises:
            Unavailable: the system refuses that port or address.
        """
        try:
            listener = await anyio.create_tcp_listener(local_host=local_host, local_port=local_port)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {local_host}:{local_port}: {error.strerror or error}",
                operation="portforward",
            ) from error
        self._tasks.start_soon(self._serve, listener, port, on_failure)
        return int(listener.extra(anyio.abc.SocketAttribute.local_port))

    async def wait_ended(self) -> None:
        """Wait until the server has gone away."""
        await self._forwarder.ended.wait()

    async def _serve(
        self, listener: MultiListener[anyio.abc.SocketStream], port: int, on_failure: OnFailure
    ) -> None:
        async def forward(stream: anyio.abc.SocketStream) -> None:
            failure = ""
            async with stream:
                try:
                    async with self._forwarder.connect(port) as connection:
                        await join(connection.data, stream)
                        with anyio.move_on_after(_FAILURE_S):
                            failure = await connection.failure()
                except (ServiceError, anyio.BrokenResourceError) as error:
                    failure = str(error)
            if failure:
                on_failure(port, failure)

        async with listener:
            await serve(listener, f"port {port} of a pod", forward)


@asynccontextmanager
async def open_tunnel(url: str, websocket: bool) -> AsyncIterator[Tunnel]:
    """Open a tunnel; leaving the block ends it, its connections and its listeners.

    Args:
        url: as the CRI gave it.
        websocket: SPDY inside a WebSocket, instead of SPDY alone.
    """
    async with open_port_forward(url, websocket=websocket) as forwarder, BackgroundTasks() as tasks:
        yield Tunnel(forwarder, tasks)
