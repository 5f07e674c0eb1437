"""systemd's socket activation (sd_listen_fds): the CRI on a socket that this process did not make.

systemd listens from boot on and keeps the socket while the service restarts, so a client that comes
early waits and is not refused. gRPC for Python cannot serve on a descriptor that it is given. So
the server listens on a socket of its own, and the bytes that arrive on the inherited one are
relayed to it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import cast

import anyio
from anyio.abc import TaskStatus

from asupervisor.errors import ConfigError
from asupervisor.listening import accept

_logger = logging.getLogger(__name__)

SCHEME = "fd://"
_FIRST_DESCRIPTOR = 3


def inherited_listener(
    endpoint: str, environment: MutableMapping[str, str], first: int = _FIRST_DESCRIPTOR
) -> socket.socket:
    """The listening socket that the service manager handed over.

    Args:
        endpoint: ``fd://``, or ``fd://N`` for descriptor N where there are several.
        environment: ``LISTEN_PID`` and ``LISTEN_FDS`` are read and removed, so that no child
            process uses the sockets.
        first: the first descriptor; 3 by the protocol.

    Raises:
        ConfigError: this process was given no socket, or none that is a listening unix socket.
    """
    named = endpoint.removeprefix(SCHEME)
    if named and not named.isdigit():
        raise ConfigError(
            f'--container-runtime-endpoint: "{endpoint}": a descriptor is a number, as in fd://3'
        )
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit() or count == "0":
        raise ConfigError(
            f'--container-runtime-endpoint: "{endpoint}" needs systemd\'s socket activation, and'
            " this process was handed no socket"
        )
    descriptors = range(first, first + int(count))
    wanted = int(named) if named else first
    if wanted not in descriptors:
        raise ConfigError(
            f'--container-runtime-endpoint: "{endpoint}": the descriptors that were handed over are'
            f" {first} to {descriptors[-1]}"
        )
    if not _listens(wanted):
        raise ConfigError(
            f'--container-runtime-endpoint: "{endpoint}": descriptor {wanted} is not a listening'
            " unix stream socket"
        )
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return socket.socket(fileno=wanted)


def _listens(descriptor: int) -> bool:
    try:
        # Through a duplicate: a socket object closes its descriptor, and this one may be somebody
        # else's.
        with socket.socket(fileno=os.dup(descriptor)) as probe:
            listening = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
            return probe.family == socket.AF_UNIX and probe.type == socket.SOCK_STREAM and listening
    except OSError:
        return False


class Relay:
    """Connections of the inherited socket, handed on to the server's own.

    Args:
        listener: from :func:`inherited_listener`; closed at the end. The manager's own descriptor
            stays open.
        server: the path that the server listens on.
    """

    def __init__(self, listener: socket.socket, server: Path) -> None:
        self._listener = listener
        listener.setblocking(False)
        self._server = server
        self._ends: set[_End] = set()
        self._accepting = anyio.CancelScope()

    @property
    def address(self) -> str:
        """The inherited socket's path."""
        return str(self._listener.getsockname())

    def stop_accepting(self) -> None:
        """Leave further clients in the queue, for the next process; connected ones stay."""
        self._accepting.cancel()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Relay until cancelled, then drop every connection."""
        try:
            async with anyio.create_task_group() as tasks:
                task_status.started()
                with self._accepting:
                    while True:
                        tasks.start_soon(self._relay, await accept(self._listener, "the CRI"))
                await anyio.sleep_forever()
        finally:
            self._listener.close()
            for end in tuple(self._ends):
                end.abort()

    async def _relay(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, near = await loop.create_unix_connection(lambda: _End(self._ends), str(self._server))
            _, far = await loop.connect_accepted_socket(lambda: _End(self._ends), client)
        except OSError as error:
            _logger.warning("a client's connection was dropped: %s", error)
            client.close()
            return
        near.join(far)


class _End(asyncio.Protocol):
    """One end of a relayed connection. It reads only while the other end can write, so that no
    bytes pile up here.
    """

    def __init__(self, ends: set[_End]) -> None:
        self._ends = ends
        self._other: _End | None = None
        self._early = bytearray()
        self._transport: asyncio.Transport

    def join(self, other: _End) -> None:
        """Begin to relay between the two."""
        self._other, other._other = other, self
        for end in (self, other):
            if end._early:
                end.data_received(bytes(end._early))
                end._early.clear()
            if end._transport.is_closing():
                end._close_other()
            else:
                end._transport.resume_reading()

    def abort(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._ends.add(self)
        # The server sends first, before the other end is there. uvloop may deliver bytes that it
        # has read already: see data_received.
        self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early += data
        else:
            self._other._transport.write(data)

    def pause_writing(self) -> None:
        if self._other is not None and not self._other._transport.is_closing():
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and not self._other._transport.is_closing():
            self._other._transport.resume_reading()

    def eof_received(self) -> bool:
        # Close both ways: HTTP/2 does not use half-closed connections.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self)
        self._close_other()

    def _close_other(self) -> None:
        if self._other is not None:
            self._other._transport.close()
