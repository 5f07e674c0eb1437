"""Walks over writable layers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from asupervisor.host import beneath
from asupervisor.stats import layers as layers_module
from asupervisor.stats.layers import (
    WalkStopped,
    WritableLayers,
    mounted_bytes,
    upper_directory,
    walk,
)
from tests.harness.engine import eventually
from tests.harness.pods import until


def fill(root: Path) -> int:
    """Five names for four inodes; returns the bytes they take on the disk."""
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "big").write_bytes(b"x" * 300_000)
    os.link(root / "etc" / "big", root / "etc" / "second-name")
    (root / "small").write_bytes(b"x")
    (root / "link").symlink_to("/etc")
    paths = [root / "etc", root / "etc" / "big", root / "small", root / "link"]
    return sum(os.lstat(path).st_blocks * 512 for path in paths)


def test_what_a_pod_puts_into_the_files_of_the_engine_counts(tmp_path: Path) -> None:
    assert mounted_bytes("") == mounted_bytes(str(tmp_path / "none")) == 0
    (tmp_path / "hosts").write_bytes(b"x" * 4096)
    (tmp_path / "resolv.conf").symlink_to("/proc/kcore")
    assert mounted_bytes(str(tmp_path)) == 0, "as every pod has them"
    (tmp_path / "hostname").write_bytes(b"x" * (1 << 20))
    (tmp_path / "0-json.log").write_bytes(b"x" * (1 << 20))
    assert (1 << 20) - (64 << 10) <= mounted_bytes(str(tmp_path)) <= 1 << 20


def test_what_a_layer_takes(tmp_path: Path) -> None:
    used = fill(tmp_path / "upper")
    usage = walk(str(tmp_path / "upper"))
    assert usage is not None
    assert (usage.used_bytes, usage.inodes, usage.complete) == (
        used,
        4,
        True,
    ), "several names count once, links are not followed"
    assert usage.time_ns > 0
    assert walk(str(tmp_path / "no such")) is None


def test_many_files_with_several_names_cost_no_memory(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    for number in range(3000):
        path = tmp_path / "upper" / str(number)
        path.touch()
        for name in range(number % 3):
            os.link(path, tmp_path / "upper" / f"{number}.{name}")
    tracemalloc.start()
    usage = walk(str(tmp_path / "upper"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert usage is not None and usage.inodes == 3000
    assert most < 100_000, "6000 names in a list of their own take more"


def test_directories_without_end_are_left_out_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath, "_PENDING_BYTES", 1000)
    for number in range(100):
        (tmp_path / f"directory{number}" / "inside").mkdir(parents=True)
    usage = walk(str(tmp_path))
    assert usage is not None and not usage.complete and 100 < usage.inodes < 200
    monkeypatch.setattr(beneath, "_PENDING_BYTES", 1 << 20)
    monkeypatch.setattr(beneath, "_PATH_BYTES", 5)
    usage = walk(str(tmp_path))
    assert usage is not None and not usage.complete and usage.inodes == 100


def test_a_directory_that_becomes_a_link_leads_nowhere(tmp_path: Path) -> None:
    upper, outside = tmp_path / "upper", tmp_path / "outside"
    (upper / "a").mkdir(parents=True)
    outside.mkdir()
    for number in range(50):
        (outside / str(number)).touch()

    def swap() -> None:
        if (upper / "a").is_dir() and not (upper / "a").is_symlink():
            (upper / "a").rmdir()
            (upper / "a").symlink_to(outside)

    usage = walk(str(upper), swap)
    assert usage is not None and usage.inodes == 1 and not usage.complete


def test_a_sparse_file_takes_what_it_takes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    usage = walk(str(tmp_path))
    assert usage is not None and usage.used_bytes < 1 << 20


def test_files_that_vanish_meanwhile(tmp_path: Path) -> None:
    fill(tmp_path / "upper")
    seen = 0

    def remove() -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            for path in (tmp_path / "upper" / "etc").iterdir():
                path.unlink()
            (tmp_path / "upper" / "etc").rmdir()

    usage = walk(str(tmp_path / "upper"), remove)
    assert usage is not None and usage.complete


def test_a_walk_can_be_stopped(tmp_path: Path) -> None:
    fill(tmp_path / "upper")

    def stop() -> None:
        raise WalkStopped

    with pytest.raises(WalkStopped):
        walk(str(tmp_path / "upper"), stop)


async def test_sizes_come_in_the_background_and_calls_never_wait(tmp_path: Path) -> None:
    used = fill(tmp_path / "upper")
    walks = 0

    def walked() -> None:
        nonlocal walks
        walks += 1

    layers = WritableLayers(interval_s=0.01, walked=walked)
    layers.watch("c1", str(tmp_path / "upper"))
    layers.watch("c2", "")
    assert layers.usage("c1") is None and layers.usage("c2") is None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(layers.run)
        await until(lambda: layers.usage("c1") is not None)
        first = layers.usage("c1")
        assert first is not None and first.used_bytes == used == layers.total_bytes()
        (tmp_path / "upper" / "more").write_bytes(b"x" * 100_000)
        await until(lambda: layers.total_bytes() > used)
        layers.watch("c3", str(tmp_path / "upper" / "etc"))
        await until(lambda: layers.usage("c3") is not None)
        layers.forget("c3")
        assert layers.usage("c3") is None
        tasks.cancel_scope.cancel()
    assert walks >= 3


async def test_a_cancelled_walk_ends_soon(tmp_path: Path) -> None:
    for number in range(6_000):
        (tmp_path / f"{number}").touch()

    layers = WritableLayers(share=0.0001)
    layers.watch("c1", str(tmp_path))
    with anyio.move_on_after(0.05):
        await layers.run()
    assert layers.usage("c1") is None
    eventually(
        lambda: not any("worker" in thread.name for thread in threading.enumerate()),
        "the walking thread ends",
    )


def _mount(point: str, options: str, kind: str = "overlay") -> str:
    return f"600 500 0:70 / {point} rw,relatime - {kind} overlay rw,{options}\n"


def test_a_walk_that_hangs_does_not_keep_the_process() -> None:
    program = """
import threading
from unittest import mock
import anyio
from asupervisor.stats import layers
walking = threading.Event()
def hang(directory, rest):
    walking.set()
    threading.Event().wait()
async def main():
    kept = layers.WritableLayers()
    kept.watch("c", "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.run)
        await anyio.to_thread.run_sync(walking.wait)
        tasks.cancel_scope.cancel()
    print("ended", flush=True)
with mock.patch.object(layers, "walk", hang):
    anyio.run(main)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "ended\n" and run.stderr == ""


def test_the_writable_layer_is_where_the_engine_mounted_it() -> None:
    own, other = "c" * 64, "d" * 64
    layer = "lowerdir=/a:/b,upperdir=/var/lib/x\\040y/fs,workdir=/var/lib/x/work,xino=off"
    chosen = "lowerdir=/a,upperdir=/etc,workdir=/w"
    # What a container mounts stands in its own table alone; in the engine's, nothing else counts.
    table = _mount("/", chosen) + _mount(f"/rootfs/overlayfs/{other}", chosen)
    table += _mount(f"/var/lib/kubelet/pods/{own}/volumes/x", chosen)
    table += _mount(f"/mnt/{own}", chosen) + _mount(f"/a/{own}", chosen, "ext4")
    assert upper_directory(table, own) == ""
    for point in (
        f"/var/lib/docker/rootfs/overlayfs/{own}",
        f"/run/containerd/io.containerd.runtime.v2.task/moby/{own}/rootfs",
    ):
        assert upper_directory(table + _mount(point, layer), own) == "/var/lib/x y/fs"
        relative = _mount(point, "lowerdir=l/A,upperdir=abc/diff")
        assert upper_directory(relative, own) == "", "relative to a directory unknown"
    assert upper_directory(f"{own} - overlay\n\n - \n", own) == ""


async def test_a_layer_full_of_files_delays_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its walk hangs, and those of the layers that come after it are done."""
    monkeypatch.setattr(layers_module, "_SHORT_WALK_S", 0.0)
    monkeypatch.setattr(layers_module, "_SLICE_S", 0.0)
    go = threading.Event()
    huge, small = tmp_path / "huge", tmp_path / "small"
    fill(huge)
    small.mkdir()
    real = layers_module.walk
    walked: list[str] = []

    def slow(directory: str, rest: Callable[[], None]) -> object:
        walked.append(directory)
        if directory == str(huge) and walked.count(directory) == 2:
            go.wait(20)
        return real(directory, rest)

    monkeypatch.setattr(layers_module, "walk", slow)
    layers = WritableLayers(interval_s=0.01, share=1e6)
    layers.watch("huge", str(huge))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(layers.run)
        await until(lambda: walked.count(str(huge)) == 2)
        layers.watch("small", str(small))
        await until(lambda: layers.usage("small") is not None)
        assert layers.usage("huge") is None
        go.set()
        await until(lambda: layers.usage("huge") is not None)
        assert walked[:2] == [str(huge)] * 2
        tasks.cancel_scope.cancel()
