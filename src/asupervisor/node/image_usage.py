"""Keeps the figures of the image file system up to date in the background, so that ImageFsInfo
never waits for the engine.
"""

from __future__ import annotations

import logging
import time

import anyio
from anyio.abc import TaskStatus

from asupervisor.engine.client import EngineClient
from asupervisor.errors import ServiceError
from asupervisor.host.lanes import Lane
from asupervisor.node.store import NodeStore
from asupervisor.stats.filesystem import image_root, measure
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ImageFilesystem

_logger = logging.getLogger(__name__)
_DEADLINE_S = 600.0
_LOOK_S = 10.0
_INTERVAL_S = 60.0
"""Seconds between two questions to the engine where nothing changed, at least."""
_SHARE = 0.02
"""Share of the time for which these questions may keep the engine busy: an old engine measures
every container for the answer.
"""
_SHORTEST_INTERVAL_S, _LONGEST_INTERVAL_S = 5.0, 3600.0


class ImageUsage:
    """Asks the engine what its images take, and the kernel what their file system has.

    Args:
        engine: asked.
        store: shows when images came or went; then the engine is asked soon.
        stats: told.
        measure_interval_s: seconds between two looks at the file system itself; kubelet looks every
            10 s.
    """

    def __init__(
        self,
        engine: EngineClient,
        store: NodeStore,
        stats: Stats,
        *,
        measure_interval_s: float = 5.0,
    ) -> None:
        self._engine = engine
        self._store = store
        self._stats = stats
        self._measure_interval_s = measure_interval_s
        self._lane = Lane("measure the image file system", width=1, deadline_s=_LOOK_S)
        self._image_bytes: int | None = None
        self._failed = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Refresh the figures until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ask)
            task_status.started()
            # The kernel is asked all the time, whatever the engine does: kubelet evicts by figures
            # with a new time only.
            while True:
                await anyio.sleep(self._measure_interval_s)
                await self._measure()

    async def _ask(self) -> None:
        while True:
            await self._engine.health.wait_ready()
            await self._measure()  # at once: the engine's answer can take long
            # Of 150 images on the containerd store it costs the engine as much CPU time as their
            # list and all of their inspects, which kubelet waits for after a start.
            await self._store.images_known.wait()
            started, seen = time.monotonic(), self._store.images
            try:
                self._image_bytes = await self._engine.system.image_bytes(_DEADLINE_S)
            except ServiceError as error:
                _logger.info("the use of the image file system is not known for now: %s", error)
            except Exception:  # a failed measurement must not end the service
                _logger.exception("the use of the image file system could not be found")
            else:
                await self._measure()
            busy_s = time.monotonic() - started
            rest_s = min(_LONGEST_INTERVAL_S, busy_s / _SHARE)
            await anyio.sleep(max(_SHORTEST_INTERVAL_S, rest_s))
            with anyio.move_on_after(max(0.0, _INTERVAL_S - rest_s)):
                while self._store.images is seen:  # noqa: ASYNC110 - every reading of the images makes a new mapping
                    await anyio.sleep(_SHORTEST_INTERVAL_S)

    async def _measure(self) -> None:
        """Take the file system's figures, once the engine has said where its data is."""
        info, layers = self._engine.info, self._stats.layers.directories()
        used = self._image_bytes

        def look() -> ImageFilesystem | None:
            root = image_root(info, layers)
            return measure(root, used) if root else None

        try:
            figures = await self._lane.run(str(info.get("DockerRootDir") or "/"), look)
        except (OSError, ServiceError) as error:
            if not self._failed:
                _logger.info("the image file system cannot be measured: %s", error)
            self._failed = True
            return
        self._failed = False
        if figures is not None:
            self._stats.set_image_filesystem(figures)
