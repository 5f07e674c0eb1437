"""Stats with the containerd image store, which needs a newer engine than some distributions have:
``ASUPERVISOR_ENGINE`` names its ``dockerd``.
"""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine, busybox_archive
from tests.harness.service import service_config
from tests.integration.observability.conftest import pod_config, run_container, until


def test_image_filesystem_and_writable_layer(
    tmp_path: Path,
) -> None:
    engine = Engine(store="containerd")

    async def main() -> None:
        async with Supervisor(service_config(engine, tmp_path)) as supervisor:
            assert supervisor.shim is not None
            layers = supervisor.shim.stats.layers
            root = f"{engine.root}/data/containerd/daemon"
            assert (await supervisor.images.image_fs_info()).image_filesystems[
                0
            ].fs_id.mountpoint == root
            config = pod_config()
            sandbox_id = await supervisor.runtime.run_pod_sandbox(config)
            command = "dd if=/dev/zero of=/data bs=1M count=3; exec sleep 1000"
            container_id = await run_container(supervisor.runtime, sandbox_id, config, command)
            await until(lambda: layers.directories() != [])
            assert layers.directories()[0].startswith(
                f"{root}/io.containerd.snapshotter.v1.overlayfs/snapshots/"
            )
            await until(lambda: os.path.exists(f"{layers.directories()[0]}/data"))
            await until(lambda: layers.usage(container_id) is not None)
            stats = await supervisor.runtime.container_stats(container_id)
            assert stats.writable_layer.fs_id.mountpoint == root and stats.writable_layer.HasField(
                "used_bytes"
            )
            images = await supervisor.images.image_fs_info()
            assert images.image_filesystems[0].used_bytes.value > 1 << 20
            await supervisor.runtime.stop_pod_sandbox(sandbox_id)
            await supervisor.runtime.remove_pod_sandbox(sandbox_id)

    try:
        engine.start()
        if not engine.containerd_store:
            pytest.skip("this engine keeps no images in containerd")
        engine.load(busybox_archive())
        anyio.run(main)
    finally:
        engine.destroy()
