"""The figures of the image file system."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from asupervisor.node import image_usage
from asupervisor.node.image_usage import ImageUsage
from asupervisor.node.store import NodeStore
from asupervisor.stats.filesystem import measure
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ImageFilesystem


class _Engine:
    """One whose images are in a directory and that never says what they take."""

    def __init__(self, root: Path) -> None:
        self.info = {"DockerRootDir": str(root)}
        self.health = SimpleNamespace(wait_ready=anyio.lowlevel.checkpoint)
        self.system = SimpleNamespace(image_bytes=self._image_bytes)
        self.asked = anyio.Event()

    async def _image_bytes(self, deadline_s: float) -> int:
        self.asked.set()
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


async def test_the_engine_is_asked_once_its_images_are_known(tmp_path: Path) -> None:
    """Its answer costs it as much as the list of them, which comes first."""
    engine: Any = _Engine(tmp_path)
    store, stats = NodeStore(), Stats()
    async with anyio.create_task_group() as tasks:
        await tasks.start(ImageUsage(engine, store, stats, measure_interval_s=0.001).run)
        with anyio.fail_after(10):
            await stats.image_filesystem_known.wait()
            await anyio.wait_all_tasks_blocked()
            assert not engine.asked.is_set()
            store.images_known.set()
            await engine.asked.wait()
        tasks.cancel_scope.cancel()


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


async def test_a_file_system_that_hangs_takes_no_thread_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    back, stats = threading.Event(), Stats()

    def hang(root: str, image_bytes: int | None) -> ImageFilesystem:
        back.wait()
        return measure(root, image_bytes)

    monkeypatch.setattr(image_usage, "_LOOK_S", 0.05)
    monkeypatch.setattr(image_usage, "measure", hang)
    engine: Any = _Engine(tmp_path)
    try:
        with caplog.at_level(logging.INFO):
            async with anyio.create_task_group() as tasks:
                usage = ImageUsage(engine, NodeStore(), stats, measure_interval_s=0.001)
                await tasks.start(usage.run)
                with anyio.fail_after(10):
                    while "cannot be measured" not in caplog.text:  # noqa: ASYNC110 - logging sets no event
                        await anyio.sleep(0.001)
                assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
                back.set()
                with anyio.fail_after(10):
                    await stats.image_filesystem_known.wait()
                tasks.cancel_scope.cancel()
    finally:
        back.set()
    assert caplog.text.count("cannot be measured") == 1
