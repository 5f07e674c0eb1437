"""The files that the engine mounts into a container beside its layer and its volumes."""

from __future__ import annotations

from pathlib import Path

from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import container_config, until
from tests.harness.service import service_config
from tests.hostile.tenants import run_pod


async def test_what_a_pod_writes_into_them_counts_as_its_own(
    engine: Engine, directory: Path
) -> None:
    """Else it fills the node's disk, and kubelet evicts others for it."""
    write = "dd if=/dev/zero of=/etc/hostname bs=1M count=8"
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        neighbour = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        pod = await run_pod(supervisor, "tenant", BUSYBOX_IMAGE)
        done = await runtime.exec_sync(pod.container_id, ("sh", "-c", write), 60)
        assert done.exit_code == 0, done.stderr
        await pod.create(container_config("reader"))

        async def used(container_id: str) -> int:
            answer = await runtime.container_stats(container_id)
            return answer.writable_layer.used_bytes.value

        async def counts() -> bool:
            return await used(pod.container_id) >= 4 << 20

        await until(counts, "it counts for the pod")
        assert await used(neighbour.container_id) < 1 << 20
        await neighbour.remove()
        await pod.remove()
