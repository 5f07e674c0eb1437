"""A lock that many hold together, or one alone: pods are set up at the same time, but not during a
collection of garbage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class SharedLock:
    """Many may hold it together, or one alone. Who wants it alone waits until it is free; until
    then others still get it.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._changed = anyio.Event()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it together with others."""
        while self._alone:
            await self._changed.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._tell()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold it alone."""
        while self._inside or self._alone:
            await self._changed.wait()
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            self._tell()

    def _tell(self) -> None:
        # Each waiter looks again; a new event, so that the next wait is for the next change.
        self._changed.set()
        self._changed = anyio.Event()
