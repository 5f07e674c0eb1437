"""Writes to a connection what many tasks send, in order and in whole frames."""

from __future__ import annotations

import anyio
import anyio.abc

_HIGH_WATER = 64 * 1024
"""Bytes that may wait before :meth:`Outbox.room` makes writers wait."""


class Outbox:
    """A byte queue that a task of its own empties into the connection.

    Writers do not write to the connection themselves: one that is cancelled would leave half a
    frame there.

    Args:
        stream: the connection; only this object writes to it.
    """

    def __init__(self, stream: anyio.abc.ByteSendStream) -> None:
        self._stream = stream
        self._waiting: list[bytes] = []
        self._wake: anyio.Event | None = None
        self._drained = anyio.Event()
        self._broken = False
        self._scope = anyio.CancelScope(shield=True)
        self.put_bytes = 0
        """Bytes that were put so far."""
        self.sent_bytes = 0
        """Bytes that the connection has taken."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the connection has not taken yet."""
        return self.put_bytes - self.sent_bytes

    def put(self, data: bytes) -> None:
        """Queue bytes without waiting; callers wait for :meth:`room` before."""
        if data and not self._broken:
            self._waiting.append(data)
            self.put_bytes += len(data)
            if self._wake is not None:
                self._wake.set()
                self._wake = None

    async def room(self) -> None:
        """Wait until fewer bytes wait than the high-water mark.

        Raises:
            anyio.BrokenResourceError: the connection is gone.
        """
        while self.waiting_bytes >= _HIGH_WATER and not self._broken:
            await self._drained.wait()
        self._check()

    async def flush(self) -> None:
        """Wait until the connection has taken everything.

        Raises:
            anyio.BrokenResourceError: the connection is gone.
        """
        await self.passed(self.put_bytes)

    async def passed(self, mark: int) -> None:
        """Wait until the connection has taken the first ``mark`` of all bytes that were put; later
        ones may still wait.

        Raises:
            anyio.BrokenResourceError: the connection is gone.
        """
        while self.sent_bytes < mark and not self._broken:
            await self._drained.wait()
        self._check()

    async def run(self) -> None:
        """Write until :meth:`stop`, or until the connection breaks, which is remembered and not
        raised.

        It is shielded from cancellation: a cancelled session still has to say goodbye."""
        try:
            with self._scope:
                while True:
                    if not self._waiting:
                        self._wake = anyio.Event()
                        await self._wake.wait()
                    data = b"".join(self._waiting)  # no copy if it is one piece
                    self._waiting = []
                    await self._stream.send(data)
                    self.sent_bytes += len(data)
                    self._notify()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self._broken = True
            self._waiting.clear()
            self._notify()

    def stop(self) -> None:
        """End :meth:`run`; what waits is not sent."""
        self._scope.cancel()

    def _notify(self) -> None:
        drained, self._drained = self._drained, anyio.Event()
        drained.set()

    def _check(self) -> None:
        if self._broken:
            raise anyio.BrokenResourceError("the connection is gone")
