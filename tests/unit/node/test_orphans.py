"""What runs without the engine's knowing is not called stopped or removed, and a change of the
engine's store is told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asupervisor.engine.client import EngineClient
from asupervisor.engine.probe import Probe
from asupervisor.errors import FailedPrecondition, Unavailable
from asupervisor.node.orphans import Orphans
from tests.harness.fake_engine import FakeEngine, container_document
from tests.harness.processes import add_process

ID, OTHER = "a" * 64, "b" * 64
CLASSIC = {"Driver": "overlay2", "DockerRootDir": "/var/lib/docker"}
CONTAINERD = {"Driver": "overlayfs", "DockerRootDir": "/var/lib/docker"}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "engine.sock") as fake:
        yield fake


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    proc = tmp_path / "proc"
    add_process(proc, 1, "/init.scope")
    (proc / "sys").mkdir()
    return proc


@asynccontextmanager
async def looking(fake: FakeEngine, proc: Path) -> AsyncIterator[Orphans]:
    engine = EngineClient(fake.endpoint)
    await engine.open()
    await Probe(engine, 0.05, 5.0).once()
    try:
        yield Orphans(proc.parent / "root", engine, str(proc))
    finally:
        await engine.close()


@pytest.mark.parametrize(
    "cgroup", [f"/kubepods/pod1/{ID}", f"/docker/{ID}/init", f"/a.slice/docker-{ID}.scope"]
)
async def test_one_that_runs_is_not_called_gone(fake: FakeEngine, proc: Path, cgroup: str) -> None:
    add_process(proc, 4711, cgroup)
    add_process(proc, 99999, cgroup)
    async with looking(fake, proc) as orphans:
        with pytest.raises(FailedPrecondition, match="its process 4711 runs; start the engine"):
            await orphans.require_ended(ID)
        await orphans.require_ended(OTHER)
        assert await orphans.living([ID, OTHER]) == {ID}


async def test_what_has_ended_or_is_no_id_is_gone(fake: FakeEngine, proc: Path) -> None:
    add_process(proc, 4711, f"/docker/{ID}", state="Z")
    add_process(proc, 4712, "/docker/aaaa")
    async with looking(fake, proc) as orphans:
        for any_id in (ID, "a" * 4, "", "a" * 63, f"{ID}\n", "../x"):
            await orphans.require_ended(any_id)
        assert await orphans.living([ID, "docker"]) == frozenset()


async def test_one_that_the_engine_has_is_somebody_elses(fake: FakeEngine, proc: Path) -> None:
    add_process(proc, 4711, f"/docker/{ID}")
    fake.containers[ID] = container_document(ID, "stranger")
    async with looking(fake, proc) as orphans:
        await orphans.require_ended(ID)
    async with looking(fake, proc) as orphans:
        fake.stop()
        with pytest.raises(Unavailable):
            await orphans.require_ended(ID)


async def test_another_store_is_told_and_remembered(
    fake: FakeEngine, proc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for info in (CLASSIC, CLASSIC, CONTAINERD):
        fake.info.update(info)
        async with looking(fake, proc) as orphans:
            assert not caplog.records, "nothing has changed so far"
            await orphans.note()
            await orphans.note()
    assert len(caplog.records) == 1
    assert "overlayfs in /var/lib/docker, not overlay2 in /var/lib/docker" in caplog.text
    add_process(proc, 4711, f"/docker/{ID}")
    async with looking(fake, proc) as orphans:
        await orphans.note()
        with pytest.raises(FailedPrecondition, match="had them as overlay2 in /var/lib/docker"):
            await orphans.require_ended(ID)
    assert len(caplog.records) == 1, "a service that starts again knows it"


async def test_one_that_runs_is_told_once(
    fake: FakeEngine, proc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_process(proc, 4711, f"/docker/{ID}")
    async with looking(fake, proc) as orphans:
        for _ in range(2):
            await orphans.living([ID])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "process 4711 runs" in caplog.text


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"now": 1}', b"\xff", b"[" * 100_000])
async def test_a_damaged_note_is_written_anew(fake: FakeEngine, proc: Path, content: bytes) -> None:
    fake.info.update(CLASSIC)
    path = proc.parent / "root" / "engine-store"
    path.parent.mkdir()
    path.write_bytes(content)
    async with looking(fake, proc) as orphans:
        await orphans.note()
    document = json.loads(path.read_bytes())
    assert document == {"now": "overlay2 in /var/lib/docker", "before": ""}


async def test_an_engine_that_does_not_tell_is_not_another(
    fake: FakeEngine, proc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.info.update(CLASSIC)
    async with looking(fake, proc) as orphans:
        await orphans.note()
    fake.info.update(Driver=None, DockerRootDir=[])
    async with looking(fake, proc) as orphans:
        await orphans.note()
    assert not caplog.records


async def test_a_disk_that_refuses_the_note_is_told(
    fake: FakeEngine, proc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.info.update(CLASSIC)
    (proc.parent / "root" / "engine-store").mkdir(parents=True)
    async with looking(fake, proc) as orphans:
        await orphans.note()
    assert "cannot be read or written" in caplog.text
