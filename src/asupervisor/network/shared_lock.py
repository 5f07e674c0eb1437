"""A lock that many hold together, or one alone: pods are set up beside each other, and none beside
a collection of garbage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class SharedLock:
    """Many may be inside together, or one alone. Who wants to be alone waits until
    none is inside, and lets others in until then.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._changed = anyio.Event()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be inside together with others."""
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
        """Be inside alone."""
        while self._inside or self._alone:
            await self._changed.wait()
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            self._tell()

    def _tell(self) -> None:
        # Each waiter looks again; an event for each turn, so that none is left with an old one.
        self._changed.set()
        self._changed = anyio.Event()
