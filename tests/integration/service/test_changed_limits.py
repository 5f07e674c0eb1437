"""What an update changed beside the engine is told for as long as there is the container, over
restarts of the service.
"""

from __future__ import annotations

from pathlib import Path

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config
from tests.harness.service import service_config


async def score_told(supervisor: Supervisor, container_id: str) -> int:
    return int(
        (
            await supervisor.runtime.container_status(container_id)
        ).status.resources.linux.oom_score_adj
    )


async def score_in_force(supervisor: Supervisor, container_id: str) -> int:
    return int(
        (
            await supervisor.runtime.exec_sync(container_id, ("cat", "/proc/1/oom_score_adj"), 20)
        ).stdout
    )


async def test_a_changed_score_is_told_and_in_force_over_restarts(
    engine: Engine, directory: Path
) -> None:
    linux = cri.LinuxContainerConfig(resources=cri.LinuxContainerResources(oom_score_adj=500))
    linux.security_context.namespace_options.pid = cri.CONTAINER
    config = container_config(linux=linux)
    async with Supervisor(service_config(engine, directory)) as supervisor:
        sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("changed"))
        container_id = await supervisor.runtime.create_container(
            sandbox_id, config, pod_config("changed")
        )
        await supervisor.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(oom_score_adj=600)
        )
        assert await score_told(supervisor, container_id) == 600, (
            "of one that does not run yet it is told too"
        )
    async with Supervisor(service_config(engine, directory)) as supervisor:
        assert await score_told(supervisor, container_id) == 600
        await supervisor.runtime.start_container(container_id)
        assert await score_in_force(supervisor, container_id) == 600
        await supervisor.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(oom_score_adj=700, cpu_shares=99)
        )
        assert await score_told(supervisor, container_id) == 700
        assert await score_in_force(supervisor, container_id) == 700
    async with Supervisor(service_config(engine, directory)) as supervisor:
        resources = (await supervisor.runtime.container_status(container_id)).status.resources.linux
        assert (resources.oom_score_adj, resources.cpu_shares) == (700, 99)
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)
