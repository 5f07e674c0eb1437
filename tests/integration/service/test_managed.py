"""``--docker-endpoint managed``: the service with an engine of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.engine.managed import ManagedEngine
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import (
    BUSYBOX_IMAGE,
    Engine,
    busybox_archive,
    eventually,
    remove_tree,
)
from tests.harness.service import Service


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service(None, docker_endpoint="managed")
    managed = ManagedEngine(running.root)
    try:
        yield running
    finally:
        if running.process is not None:
            running.stop()
        # Containers outlive the engine, so they are removed by another one on the same directories.
        api = engine_of(running)
        running.start()
        api.remove_all()
        assert running.stop() == 0
        subprocess.run(["ip", "link", "del", managed.bridge], check=True)
        shutil.rmtree(managed.exec_root, ignore_errors=True)
        remove_tree(running.directory)


def engine_of(service: Service) -> Engine:
    """The managed engine's API, past the service."""
    api = Engine(service.root / "engine")
    api.socket = service.root / "engine" / "docker.sock"
    return api


def daemon(service: Service) -> int:
    """The process id of the last dockerd that the service started."""
    return int(re.findall(r"dockerd runs as process (\d+)", service.output)[-1])


async def run_sleeper(endpoint: str) -> str:
    async with RemoteRuntimeService.connect(endpoint) as runtime:
        sandbox_config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name="kept", namespace="default", uid="uid-kept")
        )
        sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"),
            image=cri.ImageSpec(image=BUSYBOX_IMAGE),
            command=["sleep", "1000"],
        )
        container_id = await runtime.create_container(sandbox_id, config, sandbox_config)
        await runtime.start_container(container_id)
        return container_id


async def states(endpoint: str) -> dict[str, int]:
    async with RemoteRuntimeService.connect(endpoint) as runtime:
        return {container.id: container.state for container in await runtime.list_containers()}


async def runtime_ready(endpoint: str) -> bool:
    async with RemoteRuntimeService.connect(endpoint) as runtime:
        conditions = (await runtime.status()).status.conditions
        return {condition.type: condition.status for condition in conditions}["RuntimeReady"]


def runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def process_of(service: Service, container_id: str) -> int:
    return int(engine_of(service).inspect(container_id)["State"]["Pid"])


def test_containers_live_through_the_engine_and_the_service(service: Service) -> None:
    service.start()
    engine_of(service).load(busybox_archive())
    container_id = anyio.run(run_sleeper, service.endpoint)
    first, process = daemon(service), process_of(service, container_id)

    os.kill(first, signal.SIGKILL)
    eventually(
        lambda: "by signal SIGKILL; it is started again" in service.output,
        "the end of the engine is told",
    )
    eventually(lambda: daemon(service) != first, "another engine is started")
    eventually(lambda: anyio.run(runtime_ready, service.endpoint), "it is ready again")
    assert anyio.run(states, service.endpoint) == {container_id: cri.CONTAINER_RUNNING}
    assert process_of(service, container_id) == process

    second = daemon(service)
    assert service.stop() == 0
    assert not Path(f"/proc/{second}").exists()
    assert Path(f"/proc/{process}").exists(), "the container keeps running without an engine"

    service.start()
    assert anyio.run(states, service.endpoint) == {container_id: cri.CONTAINER_RUNNING}
    assert process_of(service, container_id) == process

    # A killed service leaves its engine behind; the next one ends it before it starts its own.
    orphan = daemon(service)
    service.kill()
    assert Path(f"/proc/{orphan}").exists()
    service.start()
    assert "left its dockerd" in service.output
    assert daemon(service) != orphan
    # Nobody's child any more: its entry stays where no init reaps it, but without a command line.
    assert not runs(orphan)
    assert process_of(service, container_id) == process


async def reasons_until_ready(endpoint: str) -> set[str]:
    """Every reason that Status gives from now on, until the runtime is ready."""
    seen: set[str] = set()
    async with RemoteRuntimeService.connect(endpoint) as runtime:
        with anyio.fail_after(60):
            while True:
                for condition in (await runtime.status()).status.conditions:
                    if condition.type == "RuntimeReady" and condition.status:
                        return seen
                    if condition.type == "RuntimeReady":
                        seen.add(condition.reason)


def test_its_start_is_told_in_few_lines_and_never_as_somebody_elses_business(
    service: Service,
) -> None:
    service.start(ready=False)
    seen = anyio.run(reasons_until_ready, service.endpoint)
    assert "EngineStarting" in seen
    assert seen <= {"EngineStarting", "EngineNotProbed", "NodeStateNotSynced"}
    eventually(lambda: "ready: serving" in service.output, "it says so")
    before = service.output.partition("ready: serving")[0].splitlines()
    ours = [line for line in before if "dockerd: " not in line]
    assert len(ours) <= 6, service.output
    assert not [line for line in before if " INFO dockerd: " in line]
    assert not [line for line in before if "did not answer ping" in line]


def test_no_dockerd_is_told_in_one_line(tmp_path: Path) -> None:
    service = Service(None, tmp_path, docker_endpoint="managed")
    command = service.command
    answer = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'for f in $(which -a dockerd); do mount --bind /dev/null "$f"; done; exec "$@"',
            "sh",
            *command,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    line = answer.stderr.strip().splitlines()[-1]
    assert (
        line
        == "asupervisor: --docker-endpoint managed: dockerd is not installed; install Docker Engine"
        " 20.10 or later"
    )
    assert "Traceback" not in answer.stderr
