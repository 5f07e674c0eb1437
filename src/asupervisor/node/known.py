"""Whether the node's objects of one kind were ever read: unknown is not absent.

Until the engine was asked once with success, an empty list could be false."""

from __future__ import annotations

import anyio


class Known:
    """Set once for the life of the process; after that, what is in memory counts, also while the
    engine is not available.

    Args:
        what: the objects, in the plural.

    Attributes:
        complete: whether every one of them was listed once. Read on each call, so a plain field.
    """

    __slots__ = ("_event", "complete", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self.complete = False
        self._event = anyio.Event()

    def set(self) -> None:
        """All of them were listed."""
        self.complete = True
        self._event.set()

    async def wait(self) -> None:
        """Return once they were."""
        await self._event.wait()
