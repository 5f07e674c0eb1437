"""Reading one container again from the engine, never two readings of it at once, never an old one over a newer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from asupervisor.errors import ServiceError


class _Reading:
    """One container's reading: the one under way, and whether another must follow because something changed meanwhile."""

    __slots__ = ("again", "current", "following")

    def __init__(self) -> None:
        self.again = False
        self.current = _Outcome()
        self.following = _Outcome()


class _Outcome:
    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: ServiceError | None = None


class Refresher:
    """Conflates readings: however often a container is said to have changed, one reading is under way and one may wait.

    Args:
        tasks: where readings run, so that a caller that gives up does not tear one that others wait for.
        read: reads a container and applies it to the store.
        concurrency: how many readings may be under way at once.
    """

    def __init__(self, tasks: TaskGroup, read: Callable[[str], Awaitable[None]], concurrency: int = 16) -> None:
        self._tasks = tasks
        self._read = read
        self._limit = anyio.CapacityLimiter(concurrency)
        self._readings: dict[str, _Reading] = {}

    def mark(self, any_id: str) -> _Outcome:
        """Have a container read; the reading begins after this call, so it sees everything that happened before."""
        reading = self._readings.get(any_id)
        if reading is None:
            reading = self._readings[any_id] = _Reading()
            self._tasks.start_soon(self._run, any_id, reading, name=f"read {any_id[:12]}")
            return reading.current
        reading.again = True
        return reading.following

    async def refresh(self, any_id: str) -> None:
        """Read a container and return once the store has it.

        Raises:
            ServiceError: the engine could not be asked.
        """
        outcome = self.mark(any_id)
        await outcome.done.wait()
        if outcome.error is not None:
            raise outcome.error

    async def _run(self, any_id: str, reading: _Reading) -> None:
        while True:
            try:
                async with self._limit:
                    await self._read(any_id)
            except ServiceError as error:
                reading.current.error = error
            finally:
                reading.current.done.set()
                if not reading.again:
                    del self._readings[any_id]
            if not reading.again:
                return
            reading.again = False
            reading.current, reading.following = reading.following, _Outcome()
