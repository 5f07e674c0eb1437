"""An image, a committed container and a container that somebody else made cannot speak in the name
of this service.
"""

from __future__ import annotations

from pathlib import Path

from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.service import service_config
from tests.hostile.tenants import docker_rm, docker_run, run_pod


async def test_a_container_of_somebody_else_is_not_a_pods(engine: Engine, directory: Path) -> None:
    stranger = docker_run(engine, BUSYBOX_IMAGE, name="stranger")
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        shown = await supervisor.runtime.list_containers()
        assert [container.id for container in shown] == [pod.container_id]
        await pod.remove()
    assert engine.inspect(stranger)["State"]["Running"]
    docker_rm(engine, stranger)
