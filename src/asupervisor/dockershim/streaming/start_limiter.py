"""Limits the commands that the engine starts at a time, with pauses between them, so that hundreds
of starts leave CPU time for the rest of the node.

A start costs the engine, its shim and its runtime some 60 ms of CPU time. Hundreds at once are not
faster, but every other thread of the machine has to wait for a core: those of the CRI server, of
kubelet, of the commands that run already."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import anyio

_LONGEST_S = 0.5
_FIRST_LOOK_S = 0.005
_LAST_LOOK_S = 0.04


class Place:
    """One command's permission to start; made by :meth:`StartLimiter.take`.

    Args:
        places: the semaphore that it was taken from.
        longest_s: seconds until it is given back without being asked.
    """

    def __init__(self, places: anyio.Semaphore, longest_s: float) -> None:
        self._places = places
        self._loop = asyncio.get_running_loop()
        self._taken = self._loop.time()
        self._timer = self._loop.call_later(longest_s, self._release)
        self._held = True

    def leave(self) -> None:
        """Let the next one start; once is enough.

        If another one waits already, there is first a pause as long as this start took, for the
        other work of the node.
        """
        if not self._held:
            return
        self._held = False
        self._timer.cancel()
        if self._places.statistics().tasks_waiting:
            self._loop.call_later(self._loop.time() - self._taken, self._places.release)
        else:
            self._places.release()

    async def leave_once(self, started: Callable[[], Awaitable[bool]]) -> None:
        """Leave when the command runs. The engine sends no event for that, so it is asked.

        Args:
            started: asks.
        """
        pause_s = _FIRST_LOOK_S
        while self._held:
            if await started():
                self.leave()
                return
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LAST_LOOK_S)

    def _release(self) -> None:
        self._held = False
        self._places.release()


class StartLimiter:
    """Gives out places in the order in which they are asked for.

    Args:
        at_once: places; by default one for every two cores of the machine, which one start keeps
            busy.
        longest_s: seconds that a start may hold a place, so that one that hangs does not delay the
            others.
    """

    def __init__(self, at_once: int = 0, longest_s: float = _LONGEST_S) -> None:
        self._places = anyio.Semaphore(at_once or max(1, (os.cpu_count() or 1) // 2))
        self._longest_s = longest_s

    async def take(self) -> Place:
        """Wait for a place; its taker leaves it."""
        await self._places.acquire()
        return Place(self._places, self._longest_s)
