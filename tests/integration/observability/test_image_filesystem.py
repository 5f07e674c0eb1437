"""ImageFsInfo against the engine's and the kernel's own answers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio

from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine, eventually
from tests.harness.service import Service, service_config
from tests.integration.observability.conftest import pod_config, run_container


def test_image_filesystem_against_the_engine_and_the_kernel(
    service: Service, engine: Engine
) -> None:
    async def ask() -> cri.ImageFsInfoResponse:
        async with RemoteImageService.connect(service.endpoint) as images:
            return await images.image_fs_info()

    root = engine.request("GET", "/info")[1]["DockerRootDir"]
    if engine.containerd_store:
        root += "/containerd/daemon"  # of the containerd that this engine runs itself
    layers = engine.request("GET", "/system/df")[1]["LayersSize"]

    def settled() -> cri.ImageFsInfoResponse | None:
        answer = anyio.run(ask)
        return answer if answer.image_filesystems[0].used_bytes.value == layers else None

    answer = eventually(settled, f"images that take {layers} bytes")
    figures, containers = answer.image_filesystems[0], answer.container_filesystems[0]
    assert figures.timestamp > 0
    assert figures.fs_id.mountpoint == containers.fs_id.mountpoint == root
    kernel = os.statvfs(root)
    assert abs(figures.inodes_used.value - (kernel.f_files - kernel.f_ffree)) < 10_000
    assert layers > 0


async def test_answers_are_there_with_the_first_call_and_with_a_frozen_engine(
    engine: Engine, tmp_path: Path
) -> None:
    async with Supervisor(service_config(engine, tmp_path)) as supervisor:
        assert (await supervisor.images.image_fs_info()).image_filesystems[0].used_bytes.value > 0
        config = pod_config()
        sandbox_id = await supervisor.runtime.run_pod_sandbox(config)
        container_id = await run_container(
            supervisor.runtime, sandbox_id, config, "exec sleep 1000"
        )
        engine.signal(signal.SIGSTOP)
        try:
            with anyio.fail_after(5):
                (stats,) = await supervisor.runtime.list_container_stats()
                assert stats.attributes.id == container_id and stats.memory.usage_bytes.value > 0
                (pod,) = await supervisor.runtime.list_pod_sandbox_stats()
                assert pod.linux.network.default_interface.name == "eth0"
                assert len(await supervisor.runtime.list_pod_sandbox_metrics()) == 1
                assert (await supervisor.images.image_fs_info()).image_filesystems[
                    0
                ].used_bytes.value > 0
        finally:
            engine.signal(signal.SIGCONT)
        await supervisor.runtime.stop_pod_sandbox(sandbox_id)
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)
