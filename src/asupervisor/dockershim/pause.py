"""The image of sandbox containers: the named one, else the one that the package brings, so that
pods start with no registry.
"""

from __future__ import annotations

import logging

import anyio

from asupervisor.config import EMBEDDED_PAUSE_IMAGE
from asupervisor.engine.client import EngineClient
from asupervisor.engine.pause import EMBEDDED_PAUSE_REFERENCE, pause_archive
from asupervisor.errors import DeadlineExceeded, NotFound, ServiceError, Unavailable
from asupervisor.node.feed import Feed
from asupervisor.node.store import NodeStore
from asupervisor.translate.images import parse_reference

_logger = logging.getLogger("asupervisor.dockershim.pause")
_PULL_DEADLINE_S = 15.0
"""A node with no registry must not hold up its first pod for longer."""
_RETRY_NAMED_S = 300.0


class PauseImage:
    """Finds, pulls or loads the pause image.

    Args:
        reference: as ``--pod-infra-container-image`` names it; ``embedded`` for the package's own.
        engine: pulls or loads it.
        store: knows whether it is there.
    """

    def __init__(self, reference: str, engine: EngineClient, store: NodeStore) -> None:
        self.reference = reference
        self._engine = engine
        self._store = store
        self._lock = anyio.Lock()
        self._named_failed_at: float | None = None

    @property
    def pinned(self) -> tuple[str, ...]:
        """References that kubelet must never collect."""
        if self.reference == EMBEDDED_PAUSE_IMAGE:
            return (EMBEDDED_PAUSE_REFERENCE,)
        return (self.reference, EMBEDDED_PAUSE_REFERENCE)

    async def ensure(self, feed: Feed) -> str:
        """The reference of a pause image that the engine has, made present if need be.

        Raises:
            ServiceError: neither the named nor the embedded image can be had.
        """
        named = self.reference != EMBEDDED_PAUSE_IMAGE
        if named and self._store.image(self.reference) is not None:
            return self.reference
        async with self._lock:
            if named and self._store.image(self.reference) is not None:
                return self.reference
            if named and await self._pull(feed):
                return self.reference
            if self._store.image(EMBEDDED_PAUSE_REFERENCE) is None:
                machine = str(self._engine.info.get("Architecture") or "")
                await self._engine.images.load(pause_archive(machine), EMBEDDED_PAUSE_REFERENCE)
                await feed.images.refresh()
                _logger.info("loaded the embedded pause image as %s", EMBEDDED_PAUSE_REFERENCE)
            return EMBEDDED_PAUSE_REFERENCE

    async def _pull(self, feed: Feed) -> bool:
        now = anyio.current_time()
        if self._named_failed_at is not None and now - self._named_failed_at < _RETRY_NAMED_S:
            return False
        reference = parse_reference(self.reference)
        try:
            with anyio.move_on_after(_PULL_DEADLINE_S) as scope:
                async with self._engine.images.pull(
                    reference.repository, reference.digest or reference.tag, None
                ) as progress:
                    async for step in progress:
                        if "error" in step:
                            raise NotFound(str(step["error"]))
            if scope.cancelled_caught:
                raise DeadlineExceeded(f"it was not pulled within {_PULL_DEADLINE_S:g} s")
            await feed.images.refresh()
            if self._store.image(self.reference) is None:
                raise Unavailable("the engine does not list it after the pull")
        except ServiceError as error:
            self._named_failed_at = now
            _logger.warning(
                "the pause image %s cannot be had, so the embedded one is used: %s",
                self.reference,
                error,
            )
            return False
        self._named_failed_at = None
        return True
