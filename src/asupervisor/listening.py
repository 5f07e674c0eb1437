"""The next connection of a listening socket, so that a cancelled wait loses none.

asyncio's ``sock_accept``, which anyio's listeners use too, takes a connection and drops it when it
is cancelled in the turn of the loop in which the connection came. Here the socket is only waited
for; what was taken is in the caller's hands at once."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener

_logger = logging.getLogger(__name__)

_UNUSABLE = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP)
_PASSED = (errno.EAGAIN, errno.EINTR, errno.ECONNABORTED)
_PAUSE_S = 0.1


async def accept(listener: socket.socket, purpose: str) -> socket.socket:
    """Wait for the next connection and take it.

    Clients stay in the kernel's queue while the process or the machine is out of descriptors or
    memory.

    Args:
        listener: listens, and does not block.
        purpose: of its connections, for the log.

    Returns:
        The connection, which does not block; the caller closes it.

    Raises:
        OSError: the socket does not listen any more.
    """
    while True:
        await anyio.wait_readable(listener)
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in _UNUSABLE:
                raise
            if error.errno not in _PASSED:
                _logger.warning("a connection for %s has to wait: %s", purpose, error.strerror)
                await anyio.sleep(_PAUSE_S)
            continue
        connection.setblocking(False)
        return connection


async def open_stream(connection: socket.socket) -> SocketStream | None:
    """A connection as a stream; None, and it is closed, where its other end has gone meanwhile."""
    try:
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return await SocketStream.from_socket(connection)
    except (OSError, ValueError):  # to anyio, one that is not connected is a ValueError
        connection.close()
        return None


async def serve(
    listener: MultiListener[SocketStream],
    purpose: str,
    handler: Callable[[SocketStream], Awaitable[None]],
) -> None:
    """Have each connection handled in a task of its own, until cancelled.

    Args:
        listener: from :func:`anyio.create_tcp_listener`; the caller closes it.
        purpose: of its connections, for the log.
        handler: closes the stream; what it raises ends all.

    Raises:
        OSError: a socket does not listen any more.
    """

    async def handle(connection: socket.socket) -> None:
        if (stream := await open_stream(connection)) is not None:
            await handler(stream)

    async def take(one: socket.socket) -> None:
        while True:
            tasks.start_soon(handle, await accept(one, purpose), name=f"{purpose} connection")

    async with anyio.create_task_group() as tasks:
        for one in listener.listeners:
            raw = one.extra(SocketAttribute.raw_socket)
            tasks.start_soon(take, raw, name=f"accept connections for {purpose}")
