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
        self._empty = anyio.Event()
        self._alone: anyio.Event | None = None

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be inside together with others."""
        while self._alone is not None:
            await self._alone.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be inside alone."""
        while self._inside or self._alone is not None:
            if self._alone is not None:
                await self._alone.wait()
            else:
                self._empty = anyio.Event()
                await self._empty.wait()
        self._alone = anyio.Event()
        try:
            yield
        finally:
            self._alone.set()
            self._alone = None
