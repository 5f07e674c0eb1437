"""The figures of the image file system."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from asupervisor.node.image_usage import ImageUsage
from asupervisor.node.store import NodeStore
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ImageFilesystem


class _Engine:
    """One whose images are in a directory and that never says what they take."""

    def __init__(self, root: Path) -> None:
        self.info = {"DockerRootDir": str(root)}
        self.health = SimpleNamespace(wait_ready=anyio.lowlevel.checkpoint)
        self.system = SimpleNamespace(image_bytes=self._image_bytes)

    async def _image_bytes(self, deadline_s: float) -> int:
        await anyio.sleep_forever()
        raise AssertionError("never answers")


async def test_the_time_goes_on_while_the_engine_takes_its_own(tmp_path: Path) -> None:
    stats = Stats()
    seen: list[ImageFilesystem] = []
    enough = anyio.Event()

    def told(figures: ImageFilesystem) -> None:
        seen.append(figures)
        if len(seen) == 3:
            enough.set()

    stats.set_image_filesystem = told  # type: ignore[method-assign]
    engine: Any = _Engine(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(ImageUsage(engine, NodeStore(), stats, measure_interval_s=0.001).run)
        with anyio.fail_after(10):
            await enough.wait()
        tasks.cancel_scope.cancel()
    assert [figures.mountpoint for figures in seen[:3]] == [str(tmp_path)] * 3
    assert seen[0].time_ns < seen[1].time_ns < seen[2].time_ns


async def test_a_file_system_that_comes_and_goes_is_measured_when_it_is_there(
    tmp_path: Path,
) -> None:
    stats = Stats()
    root = tmp_path / "images"
    engine: Any = _Engine(root)
    async with anyio.create_task_group() as tasks:
        await tasks.start(ImageUsage(engine, NodeStore(), stats, measure_interval_s=0.001).run)
        root.mkdir()
        with anyio.fail_after(10):
            await stats.image_filesystem_known.wait()
        tasks.cancel_scope.cancel()
    assert stats.image_filesystem.mountpoint == str(root)
