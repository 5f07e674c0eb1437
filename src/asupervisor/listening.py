"""Accepts connections so that a cancelled wait loses none.

asyncio's ``sock_accept``, which anyio's listeners use too, takes a connection and drops it when it
is cancelled in the turn of the loop in which the connection came. Here only the wait can be
cancelled; a connection that was taken is returned at once."""

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
    """A connection as a stream; if its other end has gone meanwhile, it is closed, and None."""
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
        handler: closes the stream; an error that it raises ends every connection.

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
