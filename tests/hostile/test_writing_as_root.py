"""What is written as root goes where it should, whatever images say and containers do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import until
from tests.harness.service import service_config
from tests.hostile.canary import Canary
from tests.hostile.conftest import MakeImage
from tests.hostile.tenants import TenantPod, run_pod

_UP = "../" * 14
_COUNTS = ("sh", "-c", "n=0; while :; do echo line $n; n=$((n+1)); sleep 0.05; done")


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


async def _neighbour_is_well(log: Path) -> None:
    """Its log goes on."""
    seen = _lines(log)
    await until(lambda: _lines(log) > seen, "a further line of the neighbour")


@asynccontextmanager
async def _two_pods(engine: Engine, directory: Path) -> AsyncIterator[tuple[TenantPod, Path, Path]]:
    """A pod without a container yet, where its log goes, and the log of a neighbour that writes
    all the time and is well at the end.
    """
    logs = {name: directory / "logs" / name for name in ("neighbour", "tenant")}
    for path in logs.values():
        (path / "main").mkdir(parents=True)
    async with Supervisor(service_config(engine, directory)) as supervisor:
        neighbour = await run_pod(
            supervisor,
            "neighbour",
            BUSYBOX_IMAGE,
            logs["neighbour"],
            command=_COUNTS,
            log_path="main/0.log",
        )
        pod = await run_pod(supervisor, "tenant", logs=logs["tenant"])
        log = logs["neighbour"] / "main" / "0.log"
        yield pod, logs["tenant"] / "main" / "0.log", log
        await _neighbour_is_well(log)
        await pod.remove()
        await _neighbour_is_well(log)
        await neighbour.remove()


@pytest.mark.parametrize(
    "settings",
    [
        '{"unified": {"%s": "OWNED"}}',
        '{"hugepages": {"2MB/%s": 1}}',
        '{"unified": {"memory.high": "1", "cgroup.procs": "1"}}',
    ],
)
async def test_an_images_label_is_not_a_file_to_write(
    engine: Engine, directory: Path, make_image: MakeImage, canary: Canary, settings: str
) -> None:
    if "%s" in settings:
        settings %= _UP + str(canary.file).lstrip("/")
    image = make_image({"Labels": {"io.kubernetes.docker.cgroup": settings}})
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "tenant", image)
        status = await pod.status()
        assert status.state == cri.CONTAINER_RUNNING
        assert not status.resources.linux.unified and not status.resources.linux.hugepage_limits
        await pod.remove()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_what_is_no_file_at_a_log_path_stops_that_container_alone(
    engine: Engine, directory: Path, make: Callable[[Path], None]
) -> None:
    async with _two_pods(engine, directory) as (pod, log, _):
        make(log)
        with pytest.raises(FailedPrecondition, match="not a regular file"):
            await pod.create(_container(_COUNTS))


async def test_a_file_with_another_name_is_no_log_file(
    engine: Engine, directory: Path, canary: Canary
) -> None:
    """A hard link looks like any file; what it is called elsewhere nobody can tell."""
    async with _two_pods(engine, directory) as (pod, log, neighbour):
        os.link(canary.file, log)
        with pytest.raises(FailedPrecondition, match="a file with 2 names"):
            await pod.create(_container(_COUNTS))
        log.unlink()
        runtime = pod.supervisor.runtime
        await runtime.remove_container(pod.container_id)
        await pod.create(_container(_COUNTS))
        await until(lambda: _lines(log) > 1, "lines of the container")
        log.rename(log.with_suffix(".old"))
        os.link(canary.file, log)
        with pytest.raises(ServiceError, match="a file with 2 names"):
            await runtime.reopen_container_log(pod.container_id)
        log.with_suffix(".old").unlink()
        await _neighbour_is_well(neighbour)
        canary.check()


def _container(command: tuple[str, ...], mount: Path | None = None) -> cri.ContainerConfig:
    mounts = [cri.Mount(host_path=str(mount), container_path="/logs")] if mount else []
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="main"),
        image=cri.ImageSpec(image=BUSYBOX_IMAGE),
        command=command,
        log_path="main/0.log",
        mounts=mounts,
    )


@pytest.mark.parametrize(
    "swap",
    [
        "rm -r /logs/main && ln -s {directory} /logs/main",
        "rm /logs/main/0.log && ln -s {file} /logs/main/0.log",
        "rm /logs/main/0.log && ln -s {directory}/made /logs/main/0.log",
        "rm /logs/main/0.log && mkfifo /logs/main/0.log",
        "mv /logs/main/0.log /logs/main/0.log.1 && ln -s {file} /logs/main/0.log",
        "mv /logs/main /logs/m && mkdir /logs/main && ln -s {file} /logs/main/0.log",
    ],
    ids=["directory", "file", "missing", "fifo", "rotation", "both"],
)
async def test_a_container_that_swaps_its_log_for_a_link_writes_nowhere_else(
    engine: Engine, directory: Path, canary: Canary, swap: str
) -> None:
    async with _two_pods(engine, directory) as (pod, log, neighbour):
        logs = log.parents[1]
        attack = swap.format(directory=canary.directory, file=canary.file)
        script = f"echo before; sleep 0.3; {attack}; touch /logs/swapped; {_COUNTS[2]}"
        container_id = await pod.create(_container(("sh", "-c", script), mount=logs))
        await until((logs / "swapped").exists, "the swap")
        with pytest.raises(ServiceError):
            await pod.supervisor.runtime.reopen_container_log(container_id)
        await _neighbour_is_well(neighbour)
        canary.check()


async def test_a_log_file_that_held_something_is_appended_to(
    engine: Engine, directory: Path
) -> None:
    foreign = b"#!/bin/sh\necho of somebody else"
    async with _two_pods(engine, directory) as (pod, log, _):
        held = anyio.Path(log)
        await held.write_bytes(foreign)
        await pod.create(_container(_COUNTS))
        await until(lambda: _lines(log) > 3, "lines of the container")
        assert (await held.read_bytes()).startswith(foreign + b"\n20")
