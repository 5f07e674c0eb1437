"""Reading a container again: never two readings of it at once, and never an old result over a newer
one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.abc import TaskGroup

from asupervisor.errors import ServiceError, Unavailable
from asupervisor.single_flight import Flight

_logger = logging.getLogger(__name__)

_PATIENCE_S = 2.0
"""Seconds for which a reading counts as one of those that may be under way."""
_OVERDUE = 64
"""Readings that took longer than that and may go on without being counted."""
_OFFENDERS = 4
"""Readings at once of containers whose last reading was late or failed."""
_SETTLE_DEADLINE_S = 5.0

Apply = Callable[[], None]
"""Puts what was read into the store."""


@dataclass(frozen=True, slots=True)
class Settled:
    """An :data:`Apply` that first has to wait for something other than the engine. That wait is not
    counted as a reading, and it ends when it takes too long.
    """

    settle: Callable[[], Awaitable[None]]
    apply: Apply

    def __call__(self) -> None:
        """Apply it, whether or not it was settled."""
        self.apply()


class _Lane:
    """Where readings wait for their turn.

    Args:
        free: how many more may be under way at once.
    """

    __slots__ = ("free", "waiting")

    def __init__(self, free: int) -> None:
        self.free = free
        self.waiting: deque[tuple[str, _Reading]] = deque()


class _Reading:
    """One container's reading: the one that waits or is under way, and whether another must follow
    because something changed meanwhile.
    """

    __slots__ = ("again", "begun", "current", "following", "lane", "overdue", "void")

    def __init__(self, any_id: str) -> None:
        self.begun = False
        self.again = False
        self.void = False
        self.lane: _Lane | None = None
        """The lane whose place it takes; None while it takes none."""
        self.overdue = False
        self.current = _flight(any_id)
        self.following: Flight[None] | None = None


def _flight(any_id: str) -> Flight[None]:
    return Flight(f"reading {any_id}", any_id)


class Refresher:
    """Joins readings: however often a container is said to have changed, one reading is under way
    and one may wait.

    What hangs or fails holds up nothing else: a reading that takes long goes on beside the others,
    and its next try waits in a lane that only such ones share.

    Args:
        tasks: where readings run, so that a caller that gives up does not cancel one that others
            wait for.
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
        self._lane = _Lane(concurrency)
        self._offenders_lane = _Lane(_OFFENDERS)
        self._offenders: set[str] = set()
        self._overdue = 0
        self._on_failure = on_failure
        self._readings: dict[str, _Reading] = {}

    def mark(self, any_id: str) -> Flight[None]:
        """Have a container read; the reading begins after this call, so it sees everything that
        happened before.

        Returns:
            What ends once the store has what was read.
        """
        reading = self._readings.get(any_id)
        if reading is None:
            reading = self._readings[any_id] = _Reading(any_id)
            self._queue(any_id, reading)
        if not reading.begun:
            return reading.current
        reading.again = True
        if reading.following is None:
            reading.following = _flight(any_id)
        return reading.following

    def under_way(self, any_id: str) -> bool:
        """Whether a reading of a container was asked for and has not ended."""
        return any_id in self._readings

    def void(self, any_id: str) -> None:
        """Drop the result of a reading under way, which may have seen the container before it was
        removed, and read again.
        """
        reading = self._readings.get(any_id)
        if reading is not None and reading.begun:
            reading.void = reading.again = True

    def _queue(self, any_id: str, reading: _Reading) -> None:
        lane = self._offenders_lane if any_id in self._offenders else self._lane
        lane.waiting.append((any_id, reading))
        self._start_waiting(lane)

    def _start_waiting(self, lane: _Lane) -> None:
        # A task for each that runs, not for each that waits: after a start all of them wait.
        while lane.free and lane.waiting:
            any_id, reading = lane.waiting.popleft()
            lane.free -= 1
            reading.lane = lane
            self._tasks.start_soon(self._run, any_id, reading, name=f"read {any_id[:12]}")

    def _give_turn_on(self, reading: _Reading) -> None:
        lane, reading.lane = reading.lane, None
        if lane is not None:
            lane.free += 1
            self._start_waiting(lane)

    async def _run(self, any_id: str, reading: _Reading) -> None:
        try:
            await reading.current.run(partial(self._once, any_id, reading))
        except BaseException:
            if reading.following is not None:
                reading.following.fail(
                    Unavailable(f"the service stopped during reading {any_id}", subject=any_id)
                )
            raise
        finally:
            if not reading.again:
                del self._readings[any_id]
        if (error := reading.current.error) is not None:
            self._offenders.add(any_id)
            self._on_failure(any_id, error)
        if reading.again:
            reading.again = reading.begun = False
            reading.current, reading.following = reading.following or _flight(any_id), None
            self._queue(any_id, reading)

    async def _once(self, any_id: str, reading: _Reading) -> None:
        apply = await self._in_turn(any_id, reading)
        if isinstance(apply, Settled) and not reading.void:
            await _settle(any_id, apply)
        if not reading.void:
            apply()

    async def _in_turn(self, any_id: str, reading: _Reading) -> Apply:
        patience = asyncio.get_running_loop().call_later(_PATIENCE_S, self._let_others, reading)
        try:
            reading.void, reading.begun = False, True
            result = await self._read(any_id)
        finally:
            patience.cancel()
            overdue, reading.overdue = reading.overdue, False
            self._overdue -= overdue
            self._give_turn_on(reading)
        (self._offenders.add if overdue else self._offenders.discard)(any_id)
        return result

    def _let_others(self, reading: _Reading) -> None:
        """Free the place of a reading for others. Not in the other lane: few readings wait
        there.
        """
        if reading.lane is self._lane and self._overdue < _OVERDUE:
            self._overdue += 1
            reading.overdue = True
            self._give_turn_on(reading)


async def _settle(any_id: str, apply: Settled) -> None:
    with anyio.move_on_after(_SETTLE_DEADLINE_S) as scope:
        await apply.settle()
    if scope.cancelled_caught:
        _logger.warning(
            "%s is shown before its log is complete: that took more than %g s",
            any_id[:12],
            _SETTLE_DEADLINE_S,
        )
