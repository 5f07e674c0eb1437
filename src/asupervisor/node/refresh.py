"""Reading one container again from the engine, never two readings of it at once, never an old one
over a newer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from asupervisor.errors import Internal, ServiceError

_logger = logging.getLogger("asupervisor.node.refresh")

Apply = Callable[[], None]
"""Puts what was read into the store."""


class _Reading:
    """One container's reading: the one under way, and whether another must follow because something
    changed meanwhile.
    """

    __slots__ = ("again", "current", "following", "void")

    def __init__(self) -> None:
        self.again = False
        self.void = False
        self.current = Outcome()
        self.following = Outcome()


class Outcome:
    """How one reading ended."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: ServiceError | None = None

    async def wait(self) -> None:
        """Return once the store has what was read.

        Raises:
            ServiceError: the engine could not be asked.
        """
        await self.done.wait()
        if self.error is not None:
            raise self.error


class Refresher:
    """Conflates readings: however often a container is said to have changed, one reading is under
    way and one may wait.

    Args:
        tasks: where readings run, so that a caller that gives up does not tear one that others wait
            for.
        read: reads a container and returns what applies it to the store.
        concurrency: how many readings may be under way at once.
        on_failure: told the id of each reading that failed.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        read: Callable[[str], Awaitable[Apply]],
        concurrency: int = 16,
        on_failure: Callable[[str], None] = lambda any_id: None,
    ) -> None:
        self._tasks = tasks
        self._read = read
        self._limit = anyio.CapacityLimiter(concurrency)
        self._on_failure = on_failure
        self._readings: dict[str, _Reading] = {}

    def mark(self, any_id: str) -> Outcome:
        """Have a container read; the reading begins after this call, so it sees everything that
        happened before.
        """
        reading = self._readings.get(any_id)
        if reading is None:
            reading = self._readings[any_id] = _Reading()
            self._tasks.start_soon(self._run, any_id, reading, name=f"read {any_id[:12]}")
            return reading.current
        reading.again = True
        return reading.following

    def void(self, any_id: str) -> None:
        """The caller knows better than a reading under way, which may have seen the container
        before it went: drop that one, read again.
        """
        reading = self._readings.get(any_id)
        if reading is not None:
            reading.void = reading.again = True

    async def _run(self, any_id: str, reading: _Reading) -> None:
        while True:
            try:
                async with self._limit:
                    reading.void = False
                    apply = await self._read(any_id)
                if not reading.void:
                    apply()
            except ServiceError as error:
                reading.current.error = error
                self._on_failure(any_id)
            except Exception as error:
                # One document that makes no sense must not end the service of all the others.
                _logger.exception("reading %s failed by a defect of this service", any_id)
                reading.current.error = Internal(
                    f"reading {any_id} failed by a defect of this service: {error!r}",
                    subject=any_id,
                )
                self._on_failure(any_id)
            finally:
                reading.current.done.set()
                if not reading.again:
                    del self._readings[any_id]
            if not reading.again:
                return
            reading.again = False
            reading.current, reading.following = reading.following, Outcome()
