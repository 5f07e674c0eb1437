"""Reading one container again from the engine, never two readings of it at once, never an old one
over a newer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from asupervisor.errors import Internal, ServiceError

_logger = logging.getLogger(__name__)

_PATIENCE_S = 2.0
"""Seconds for which a reading keeps others from their turn."""
_OVERDUE = 64
"""Readings that may go on beside the others once they took longer than that."""
_OFFENDERS = 4
"""Readings at once of what was late or failed the last time."""
_SETTLE_DEADLINE_S = 5.0

Apply = Callable[[], None]
"""Puts what was read into the store."""


@dataclass(frozen=True, slots=True)
class Settled:
    """An :data:`Apply` before which something must come that does not ask the engine. It has no
    part in the turns of readings, and is cut off when it takes too long.
    """

    settle: Callable[[], Awaitable[None]]
    apply: Apply

    def __call__(self) -> None:
        self.apply()


class _Reading:
    """One container's reading: the one under way, and whether another must follow because something
    changed meanwhile.
    """

    __slots__ = ("again", "current", "following", "lane", "overdue", "void")

    def __init__(self) -> None:
        self.again = False
        self.void = False
        self.lane: anyio.CapacityLimiter | None = None
        self.overdue = False
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

    What hangs or fails holds up nothing else: a reading that takes long goes on beside the others,
    and its next try waits in a lane that only such ones share.

    Args:
        tasks: where readings run, so that a caller that gives up does not tear one that others wait
            for.
        read: reads a container within a deadline of its own and returns what applies it to the
            store.
        concurrency: how many readings may be under way at once, not counting those that take long.
        on_failure: told the id of each reading that failed, and why.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        read: Callable[[str], Awaitable[Apply]],
        concurrency: int = 16,
        on_failure: Callable[[str, ServiceError], None] = lambda any_id, error: None,
    ) -> None:
        self._tasks = tasks
        self._read = read
        self._limit = anyio.CapacityLimiter(concurrency)
        self._offenders_limit = anyio.CapacityLimiter(_OFFENDERS)
        self._offenders: set[str] = set()
        self._overdue = 0
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

    def under_way(self, any_id: str) -> bool:
        """Whether a reading of a container was asked for and has not ended."""
        return any_id in self._readings

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
                apply = await self._in_turn(any_id, reading)
                if isinstance(apply, Settled) and not reading.void:
                    await _settle(any_id, apply)
                if not reading.void:
                    apply()
            except ServiceError as error:
                self._fail(any_id, reading, error)
            except Exception as error:
                # One document that makes no sense must not end the service of all the others.
                _logger.exception("reading %s failed by a defect of this service", any_id)
                failure = Internal(
                    f"reading {any_id} failed by a defect of this service: {error!r}",
                    subject=any_id,
                )
                self._fail(any_id, reading, failure)
            finally:
                reading.current.done.set()
                if not reading.again:
                    del self._readings[any_id]
            if not reading.again:
                return
            reading.again = False
            reading.current, reading.following = reading.following, Outcome()

    def _fail(self, any_id: str, reading: _Reading, error: ServiceError) -> None:
        reading.current.error = error
        self._offenders.add(any_id)
        self._on_failure(any_id, error)

    async def _in_turn(self, any_id: str, reading: _Reading) -> Apply:
        lane = self._offenders_limit if any_id in self._offenders else self._limit
        await lane.acquire_on_behalf_of(reading)
        reading.lane = lane
        patience = asyncio.get_running_loop().call_later(_PATIENCE_S, self._let_others, reading)
        try:
            reading.void = False
            result = await self._read(any_id)
        finally:
            patience.cancel()
            overdue, reading.overdue = reading.overdue, False
            self._overdue -= overdue
            if reading.lane is not None:
                reading.lane.release_on_behalf_of(reading)
                reading.lane = None
        (self._offenders.add if overdue else self._offenders.discard)(any_id)
        return result

    def _let_others(self, reading: _Reading) -> None:
        """Give a reading's turn on; of those that were late before, few enough wait as it is."""
        if reading.lane is self._limit and self._overdue < _OVERDUE:
            self._overdue += 1
            reading.overdue, reading.lane = True, None
            self._limit.release_on_behalf_of(reading)


async def _settle(any_id: str, apply: Settled) -> None:
    with anyio.move_on_after(_SETTLE_DEADLINE_S) as scope:
        await apply.settle()
    if scope.cancelled_caught:
        _logger.warning(
            "%s is shown before its log is complete: that took more than %g s",
            any_id[:12],
            _SETTLE_DEADLINE_S,
        )
