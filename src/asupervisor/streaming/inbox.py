"""Bytes that were received for one stream and wait to be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
import anyio.lowlevel

CHUNK_BYTES = 64 * 1024
"""Most bytes that one read gives."""
_WHOLE_BYTES = 2048
"""Shorter pieces are joined when they come, so that a peer that sends single bytes cannot make a
read join 65536 of them.
"""


class Inbox:
    """A byte queue with an end.

    It has no limit of its own: the caller of :meth:`feed` limits it, by the flow control of the
    protocol or by not reading further.

    Args:
        on_read: called with the number of bytes that left the queue, read or dropped.
    """

    def __init__(self, on_read: Callable[[int], None]) -> None:
        self._on_read = on_read
        self._chunks: deque[bytes | bytearray] = deque()
        self._ended = False
        self._broken: str | None = None
        self._arrived: anyio.Event | None = None
        self._put_back = b""
        self.size = 0
        """Bytes that wait."""

    def feed(self, data: bytes) -> bool:
        """Add bytes; False if they will not be read any more."""
        if self._ended or self._broken is not None:
            return False
        last = self._chunks[-1] if self._chunks else b""
        if len(data) >= _WHOLE_BYTES:
            self._chunks.append(data)
        elif isinstance(last, bytearray) and len(last) < CHUNK_BYTES // 2:
            last += data
        else:
            self._chunks.append(bytearray(data))
        self.size += len(data)
        self._wake()
        return True

    def unread(self, data: bytes) -> None:
        """Put back the end of what :meth:`read` gave; it counts as read already."""
        self._put_back = data

    def feed_eof(self) -> None:
        """Note that the sender has sent all; what waits can still be read."""
        self._ended = True
        self._wake()

    def fail(self, reason: str, *, drop: bool = False) -> None:
        """Note that the sender is gone. What waits can still be read, unless ``drop``."""
        if not self._ended and self._broken is None:
            self._broken = reason
        if drop:
            self._broken = self._broken or reason
            self.drop()
        self._wake()

    def drop(self) -> None:
        """Drop the bytes that wait."""
        count, self.size = self.size, 0
        self._chunks.clear()
        if count:
            self._on_read(count)

    async def read(self) -> bytes:
        """The next bytes, at least one; at most :data:`CHUNK_BYTES`, or one piece that was longer.

        Raises:
            anyio.EndOfStream: the sender has sent all.
            anyio.BrokenResourceError: the sender is gone.
        """
        if self._put_back:
            data, self._put_back = self._put_back, b""
            return data
        while not self._chunks:
            if self._ended:
                await anyio.lowlevel.checkpoint()
                raise anyio.EndOfStream
            if self._broken is not None:
                await anyio.lowlevel.checkpoint()
                raise anyio.BrokenResourceError(self._broken)
            self._arrived = anyio.Event()
            await self._arrived.wait()
        parts = [self._chunks.popleft()]
        total = len(parts[0])
        while self._chunks and total + len(self._chunks[0]) <= CHUNK_BYTES:
            parts.append(self._chunks.popleft())
            total += len(parts[-1])
        first = parts[0]
        data = first if len(parts) == 1 and isinstance(first, bytes) else b"".join(parts)
        self.size -= len(data)
        self._on_read(len(data))
        return data

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None
