"""Turns on the event loop, so that hundreds of busy streams do not keep a gRPC call waiting.

Every piece of data costs some tenths of a millisecond in system calls. If hundreds of sessions are
ready at once, the loop would serve all of them before anything else. With turns it serves a few,
then all other work, then the next few.

The work of one turn is bounded too, because the peer decides how much work a piece of data is: 64
KiB can be one frame or eleven thousand. So decoders work in steps of :data:`UNITS_PER_TURN`."""

from __future__ import annotations

import asyncio
from collections import deque

UNITS_PER_TURN = 400
"""Work of one step; a unit is about a µs of a slow core, by each decoder's own estimate."""


class LoopTurns:
    """Hands out a bounded number of turns for each round of the loop, in the order in which they
    are asked for.

    Args:
        per_round: turns in one round.
    """

    def __init__(self, per_round: int = 2) -> None:
        self._per_round = per_round
        self._left = per_round
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def take(self) -> None:
        """Wait for a turn; at once while this round has one left and none waits."""
        loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._next_round, loop)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = self._per_round
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # a cancelled task leaves its turn to the next
                turn.set_result(None)
                self._left -= 1
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            loop.call_soon(self._next_round, loop)


class Patience:
    """Limits the frames without data that a peer may send: pings, settings, empty frames. Every
    session has a few of them; a flood of them is an attack.

    Args:
        burst: how many at once.
        per_s: how many a second, without an end.
    """

    def __init__(self, burst: int = 2000, per_s: float = 100.0) -> None:
        self._burst = self._left = float(burst)
        self._per_s = per_s
        self._last: float | None = None

    def spend(self, count: int) -> bool:
        """Count some; False if there were too many."""
        now = asyncio.get_running_loop().time()
        if self._last is not None:
            self._left = min(self._burst, self._left + (now - self._last) * self._per_s)
        self._last = now
        self._left -= count
        return self._left >= 0


_turns: dict[asyncio.AbstractEventLoop, LoopTurns] = {}


def turns() -> LoopTurns:
    """The turns of the running loop, shared by everything that streams on it."""
    loop = asyncio.get_running_loop()
    found = _turns.get(loop)
    if found is None:
        for closed in [one for one in _turns if one.is_closed()]:
            del _turns[closed]
        found = _turns[loop] = LoopTurns()
    return found
