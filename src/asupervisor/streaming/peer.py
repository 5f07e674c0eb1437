"""What a session sees of its peer over any transport: byte streams, and when the peer is gone."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Protocol

import anyio
import anyio.abc

from asupervisor.streaming.inbox import Inbox

PROBE_S = 1.0
"""Seconds between looks at a connection that is not being read."""


class PeerStream(Protocol):
    """One stream of a session: bytes in both directions, each of which ends on its own."""

    async def receive(self) -> bytes:
        """The next bytes, at least one.

        Raises:
            anyio.EndOfStream: the peer has sent all.
            anyio.BrokenResourceError: the stream or its connection is gone.
        """
        ...

    async def send(self, data: bytes) -> None:
        """Send bytes; waits while the peer does not take them.

        Raises:
            anyio.BrokenResourceError: the stream or its connection is gone.
        """
        ...

    async def send_eof(self) -> None:
        """Say that no more bytes will come; if the protocol cannot say that, do nothing."""
        ...

    async def reset(self) -> None:
        """Drop the stream at once, in both directions, with the bytes that wait in it."""
        ...


def peer_hung_up(stream: anyio.abc.ByteStream) -> bool:
    """Whether the other end of a socket has closed it, without reading what it sent before.

    Otherwise, while a connection is not read because its reader is slow, its end would be noticed
    only after the unread bytes."""
    sock = stream.extra(anyio.abc.SocketAttribute.raw_socket, None)
    if (
        sock is None
        or sock.fileno() < 0
        or sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    ):
        return False
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLRDHUP)
    return bool(poller.poll(0))


async def half_close(stream: anyio.abc.ByteStream) -> None:
    """Say on a connection that no more bytes will come; if it is gone, or cannot say so, do
    nothing.

    Beside the errors that a stream may raise, uvloop raises RuntimeError on a transport that the
    peer has closed meanwhile."""
    with contextlib.suppress(
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        OSError,
        RuntimeError,
        NotImplementedError,
    ):
        await stream.send_eof()


class Backpressure:
    """Stops the reading of a connection while too many bytes wait in the inboxes.

    Args:
        stream: the connection; if the peer closes it, the wait ends. None for a client, which
            should read what a server sent before it closed.
        limit: bytes over all inboxes.
        inbox_limit: bytes in one inbox.
    """

    def __init__(self, stream: anyio.abc.ByteStream | None, limit: int, inbox_limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._inbox_limit = inbox_limit
        self._held = 0
        self._full: set[int] = set()
        self._changed = anyio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the connection may be read."""
        return self._held <= self._limit and not self._full

    def take(self, key: int, inbox: Inbox, count: int) -> None:
        """Count bytes that were put into the inbox with this key."""
        self._held += count
        if inbox.size > self._inbox_limit:
            self._full.add(key)

    def give(self, key: int, inbox: Inbox, count: int) -> None:
        """Count bytes that left the inbox."""
        self._held -= count
        if inbox.size <= self._inbox_limit:
            self._full.discard(key)
        if self.is_open:
            self._changed.set()

    async def wait(self, still_here: Callable[[], None] | None = None) -> bool:
        """Wait until the connection may be read; False if the peer hung up meanwhile.

        Args:
            still_here: called every :data:`PROBE_S` while it waits, to show the peer that this side
                is alive.
        """
        while not self.is_open:
            self._changed = anyio.Event()
            with anyio.move_on_after(PROBE_S):
                await self._changed.wait()
                continue
            if self._stream is not None and peer_hung_up(self._stream):
                return False
            if still_here is not None:
                still_here()
        return True
