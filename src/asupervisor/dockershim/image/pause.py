"""The image of sandbox containers: the named one, else the one that the package brings, so that
pods start with no registry.
"""

from __future__ import annotations

import logging

import anyio

from asupervisor.config import EMBEDDED_PAUSE_IMAGE
from asupervisor.dockershim.image.embedded_pause import EMBEDDED_PAUSE_REFERENCE, pause_archive
from asupervisor.dockershim.image.pulls import Pulls
from asupervisor.engine.client import EngineClient
from asupervisor.errors import DeadlineExceeded, ServiceError
from asupervisor.node.images import ImageFeed
from asupervisor.node.store import NodeStore
from asupervisor.translate.images import parse_reference

_logger = logging.getLogger(__name__)
_PULL_DEADLINE_S = 15.0
"""Seconds; on a node that reaches no registry the first pod must not wait longer."""
_RETRY_NAMED_S = 300.0


def pinned_references(reference: str) -> tuple[str, ...]:
    """References that kubelet must never collect.

    Args:
        reference: as ``--pod-infra-container-image`` names it.
    """
    if reference == EMBEDDED_PAUSE_IMAGE:
        return (EMBEDDED_PAUSE_REFERENCE,)
    return (reference, EMBEDDED_PAUSE_REFERENCE)


class PauseImage:
    """Finds, pulls or loads the pause image.

    Args:
        reference: as ``--pod-infra-container-image`` names it; ``embedded`` for the package's own.
        engine: loads the package's own.
        store: knows whether it is there.
        images: shows what was loaded.
        pulls: pulls the named one.
    """

    def __init__(
        self,
        reference: str,
        engine: EngineClient,
        store: NodeStore,
        images: ImageFeed,
        pulls: Pulls,
    ) -> None:
        self.reference = reference
        self._engine = engine
        self._store = store
        self._images = images
        self._pulls = pulls
        self._lock = anyio.Lock()
        self._named_failed_at: float | None = None

    async def ensure(self) -> str:
        """The reference of a pause image that the engine has; it is pulled or loaded if necessary.

        Raises:
            ServiceError: neither the named nor the embedded image can be used.
        """
        named = self.reference != EMBEDDED_PAUSE_IMAGE
        if named and self._store.usable_image(self.reference) is not None:
            return self.reference
        async with self._lock:
            if named and self._store.usable_image(self.reference) is not None:
                return self.reference
            if named and await self._pull():
                return self.reference
            if self._store.usable_image(EMBEDDED_PAUSE_REFERENCE) is None:
                machine = str(self._engine.info.get("Architecture") or "")
                async with self._images.changing(EMBEDDED_PAUSE_REFERENCE):
                    await self._engine.images.load(pause_archive(machine), EMBEDDED_PAUSE_REFERENCE)
                _logger.info("loaded the embedded pause image as %s", EMBEDDED_PAUSE_REFERENCE)
            return EMBEDDED_PAUSE_REFERENCE

    async def _pull(self) -> bool:
        now = anyio.current_time()
        if self._named_failed_at is not None and now - self._named_failed_at < _RETRY_NAMED_S:
            return False
        try:
            with anyio.move_on_after(_PULL_DEADLINE_S) as scope:
                await self._pulls.pull(parse_reference(self.reference), None)
            if scope.cancelled_caught:
                raise DeadlineExceeded(f"it was not pulled within {_PULL_DEADLINE_S:g} s")
        except ServiceError as error:
            self._named_failed_at = now
            _logger.warning(
                "the pause image %s cannot be pulled; the embedded one is used: %s",
                self.reference,
                error,
            )
            return False
        self._named_failed_at = None
        return True
