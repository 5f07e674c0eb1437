"""A connected unix socket as a stream of bytes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.abc
import anyio.lowlevel

T = TypeVar("T")
_PAUSE_S = 0.01


class UnixStream(anyio.abc.ByteStream):
    """A connection to a unix socket. anyio's own class reports an error to the event loop if it is
    cancelled in the turn in which bytes come. A transport of the event loop drops bytes that were
    not read yet if a write fails.

    Args:
        connected: the socket; closed with this.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    async def connect(cls, path: str) -> UnixStream:
        """Connect to the socket at a path.

        Raises:
            OSError: there is no socket, or nobody listens.
        """
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            await anyio.lowlevel.checkpoint()
            while True:
                try:
                    made.connect(path)
                    return cls(made)
                except BlockingIOError:
                    # Its queue is full, and no event says when it has room again: unix(7).
                    await anyio.sleep(_PAUSE_S)
        except BaseException:
            made.close()
            raise

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """The next bytes.

        Raises:
            anyio.EndOfStream: the other end has sent all.
            anyio.BrokenResourceError, anyio.ClosedResourceError: the connection is broken or
            closed.
        """
        data = await self._do(partial(self._socket.recv, max_bytes), anyio.wait_readable)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Send bytes.

        Raises:
            anyio.BrokenResourceError, anyio.ClosedResourceError: it is broken or closed.
        """
        view = memoryview(item)
        while view:
            sent = await self._do(partial(self._socket.send, view), anyio.wait_writable)
            view = view[sent:]

    async def send_eof(self) -> None:
        """Send no more."""
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close it; a task that waits for it gets ``ClosedResourceError``."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()
        await anyio.lowlevel.checkpoint()

    async def _do(
        self, step: Callable[[], T], ready: Callable[[socket.socket], Awaitable[None]]
    ) -> T:
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return step()
            except BlockingIOError:
                await ready(self._socket)
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise anyio.ClosedResourceError from error
                raise anyio.BrokenResourceError from error
