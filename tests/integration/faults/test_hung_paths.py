"""A file system that does not answer, as that of a dead file server, keeps nobody else waiting."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import DeadlineExceeded
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.dead_mount import dead_mount
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import service_config


def _looking() -> int:
    return sum(thread.name.endswith("look at this host path") for thread in threading.enumerate())


async def test_forty_host_paths_that_hang_keep_no_other_pod_from_running(
    engine: Engine, directory: Path, tmp_path: Path
) -> None:
    with dead_mount(tmp_path / "dead") as dead:
        await _forty_that_hang(engine, directory, tmp_path, dead)


async def _forty_that_hang(engine: Engine, directory: Path, tmp_path: Path, dead: Path) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        config = pod_config("hangs")
        sandbox = await runtime.run_pod_sandbox(config)
        failures: list[str] = []

        async def create(number: int) -> None:
            path = f"{dead}/volume{number}"
            container = container_config(
                f"c{number}", mounts=[cri.Mount(host_path=path, container_path="/data")]
            )
            with pytest.raises(DeadlineExceeded, match=path) as caught:
                await runtime.create_container(sandbox, container, config)
            failures.append(str(caught.value))

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(create, number)
            await until(lambda: _looking() == 40, "forty that hang")
            # Checkpoints, log files, statistics: all of these need threads.
            other = pod_config("lives", log_directory=tmp_path / "logs")
            living = await runtime.run_pod_sandbox(other)
            container = await runtime.create_container(
                living, container_config(log_path="main/0.log"), other
            )
            await runtime.start_container(container)
            assert (await runtime.container_status(container)).status.state == cri.CONTAINER_RUNNING
            assert failures == [], "the others still hang"
        assert len(failures) == 40
        for one in (sandbox, living):
            await runtime.stop_pod_sandbox(one)
            await runtime.remove_pod_sandbox(one)


async def test_a_seccomp_profile_that_hangs_keeps_no_other_call_waiting(
    engine: Engine, directory: Path, tmp_path: Path
) -> None:
    with dead_mount(tmp_path / "dead") as dead:
        async with Supervisor(service_config(engine, directory)) as supervisor:
            runtime = supervisor.runtime
            path = f"{dead}/profile.json"
            profile = cri.SecurityProfile(
                profile_type=cri.SecurityProfile.Localhost, localhost_ref=path
            )
            config = pod_config("hangs")
            config.linux.security_context.seccomp.CopyFrom(profile)
            failed = False

            async def run_it() -> None:
                nonlocal failed
                with pytest.raises(DeadlineExceeded, match=path):
                    await runtime.run_pod_sandbox(config)
                failed = True

            async with anyio.create_task_group() as group:
                group.start_soon(run_it)
                await until(lambda: _looking() == 1, "it hangs")
                assert await runtime.list_pod_sandbox() == []
                assert not failed, "the other still hangs"
            assert failed and engine.containers() == []
