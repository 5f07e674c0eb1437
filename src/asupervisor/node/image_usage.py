"""Keeps the figures of the image file system up to date in the background, so that ImageFsInfo never waits for the engine."""

from __future__ import annotations

import logging
import time

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from asupervisor.engine.client import EngineClient
from asupervisor.errors import ServiceError
from asupervisor.stats.filesystem import image_root, measure
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ImageFilesystem

_logger = logging.getLogger("asupervisor.node.image_usage")
_DEADLINE_S = 600.0
_LONGEST_INTERVAL_S = 3600.0


class ImageUsage:
    """Asks the engine what its images take, and the kernel what their file system has.

    Args:
        engine: asked.
        stats: told.
        interval_s: seconds between two questions, at least.
        share: of the time, that the engine may be kept busy with them: an old engine measures every container for the answer.
    """

    def __init__(self, engine: EngineClient, stats: Stats, *, interval_s: float = 60.0, share: float = 0.02) -> None:
        self._engine = engine
        self._stats = stats
        self._interval_s = interval_s
        self._share = share
        self._image_bytes: int | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Refresh the figures until cancelled."""
        task_status.started()
        while True:
            await self._engine.health.wait_ready()
            started = time.monotonic()
            try:
                await self.measure()  # at once: the engine's answer can take long
                self._image_bytes = await self._engine.system.image_bytes(_DEADLINE_S)
                await self.measure()
            except (ServiceError, OSError) as error:
                _logger.info("the use of the image file system is not known for now: %s", error)
            busy_s = time.monotonic() - started
            await anyio.sleep(min(_LONGEST_INTERVAL_S, max(self._interval_s, busy_s / self._share)))

    async def measure(self) -> ImageFilesystem | None:
        """Take the file system's figures now; None before the engine said where its data is.

        Raises:
            OSError: the directory is not there.
        """
        layers = self._stats.layers
        root = image_root(self._engine.info, layers.directories())
        if not root:
            return None
        figures = await anyio.to_thread.run_sync(measure, root, self._image_bytes, layers.total_bytes(), abandon_on_cancel=True)
        self._stats.set_image_filesystem(figures)
        return figures
