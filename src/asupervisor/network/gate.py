"""Who waits for whom: pods beside each other, and nobody beside a collection of garbage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Gate:
    """Many may be inside together, or one alone. Who wants to be alone waits for an empty gate
    without closing it before.
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
        # Whoever waits looks again; an event for each turn, so that nobody is left with an old one.
        self._changed.set()
        self._changed = anyio.Event()
