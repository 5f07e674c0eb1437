"""One pod, from nothing to nothing, through the process and its socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import pod_config
from tests.harness.service import Service


@pytest.fixture
def service(engine: Engine) -> Iterator[Service]:
    running = Service(engine)
    running.start()
    try:
        yield running
        assert running.stop() == 0
        assert not running.socket.exists()
        assert engine.containers() == []
    finally:
        engine.remove_all()


async def test_a_pod_from_nothing_to_nothing(service: Service, tmp_path: Path) -> None:
    async with (
        RemoteRuntimeService.connect(service.endpoint) as runtime,
        RemoteImageService.connect(service.endpoint) as images,
    ):
        dns = cri.DNSConfig(servers=["192.0.2.53"], searches=["svc.test"], options=["ndots:5"])
        sandbox_config = pod_config("life", log_directory=tmp_path, dns_config=dns)
        sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
        sandbox = (await runtime.pod_sandbox_status(sandbox_id)).status
        assert sandbox.state == cri.SANDBOX_READY
        assert sandbox.metadata == sandbox_config.metadata
        assert dict(sandbox.labels) == {"app": "life"}
        assert dict(sandbox.annotations) == {"note": "kept as given"}
        assert sandbox.network.ip

        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"),
            image=cri.ImageSpec(image=BUSYBOX_IMAGE),
            command=["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"],
            log_path="main.log",
        )
        container_id = await runtime.create_container(sandbox_id, config, sandbox_config)
        await runtime.start_container(container_id)
        assert [item.id for item in await runtime.list_containers()] == [container_id]
        resolved = await runtime.exec_sync(
            container_id, ["cat", "/etc/resolv.conf"], exec_timeout_s=10
        )
        assert resolved.stdout == b"nameserver 192.0.2.53\nsearch svc.test\noptions ndots:5\n"

        await runtime.stop_container(container_id, 10)
        stopped = (await runtime.container_status(container_id)).status
        assert (stopped.state, stopped.exit_code, stopped.reason) == (
            cri.CONTAINER_EXITED,
            7,
            "Error",
        )
        await runtime.remove_container(container_id)
        await runtime.stop_pod_sandbox(sandbox_id)
        assert (await runtime.pod_sandbox_status(sandbox_id)).status.state == cri.SANDBOX_NOTREADY
        await runtime.remove_pod_sandbox(sandbox_id)
        assert await runtime.list_pod_sandbox() == []
        assert {
            image.pinned
            for image in await images.list_images()
            if any("pause" in tag for tag in image.repo_tags)
        } == {True}
