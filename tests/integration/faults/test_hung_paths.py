"""A file system that does not answer, as that of a dead file server, keeps nobody else waiting."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import DeadlineExceeded
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import service_config

_MNT_DETACH = 2


@pytest.fixture
def dead_mount(tmp_path: Path) -> Iterator[Path]:
    """A FUSE file system whose server never reads a request."""
    libc = ctypes.CDLL(None, use_errno=True)
    where = tmp_path / "dead"
    where.mkdir()
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no FUSE here")
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", bytes(where), b"fuse", 0, options):
        os.close(server)
        pytest.skip(f"a FUSE file system cannot be mounted: {os.strerror(ctypes.get_errno())}")
    yield where
    libc.umount2(bytes(where), _MNT_DETACH)
    os.close(server)


def _looking() -> int:
    return sum(thread.name.endswith("look at this host path") for thread in threading.enumerate())


async def test_forty_host_paths_that_hang_keep_no_other_pod_from_running(
    engine: Engine, directory: Path, tmp_path: Path, dead_mount: Path
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        config = pod_config("hangs")
        sandbox = await runtime.run_pod_sandbox(config)
        failures: list[str] = []

        async def create(number: int) -> None:
            path = f"{dead_mount}/volume{number}"
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
