"""An engine with live restore dies and comes back: the pods never noticed, and are what they
were.
"""

from __future__ import annotations

import signal
from pathlib import Path

import anyio

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until, until_nothing
from tests.harness.service import service_config


async def test_pods_outlive_the_engine(restoring_engine: Engine, directory: Path) -> None:
    engine = restoring_engine

    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime, health = (
            supervisor.runtime,
            supervisor.shim.engine.health if supervisor.shim is not None else None,
        )
        assert health is not None
        sandbox_config = pod_config(
            "outlives", dns_config=cri.DNSConfig(servers=["192.0.2.53"], options=["ndots:5"])
        )
        sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
        container_id = await runtime.create_container(
            sandbox_id, container_config(), sandbox_config
        )
        await runtime.start_container(container_id)
        before = [
            (await runtime.pod_sandbox_status(sandbox_id)).status,
            (await runtime.container_status(container_id)).status,
        ]
        engine.signal(signal.SIGKILL)
        await until(lambda: not health.ready, "the engine is down", 10)
        assert [item.id for item in await runtime.list_containers()] == [container_id]
        await anyio.to_thread.run_sync(engine.start)
        with anyio.fail_after(30):
            await health.wait_ready()
        after = [
            (await runtime.pod_sandbox_status(sandbox_id)).status,
            (await runtime.container_status(container_id)).status,
        ]
        assert after == before, "not stopped, not started again, at the same addresses"
        resolved = await runtime.exec_sync(
            container_id, ["cat", "/etc/resolv.conf"], exec_timeout_s=20
        )
        assert resolved.stdout == b"nameserver 192.0.2.53\noptions ndots:5\n"
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
        await until_nothing(engine.containers)
