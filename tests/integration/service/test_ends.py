"""Stop and remove beside starts and removals of others, on a real engine."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import service_config
from tests.integration.service.test_patience import Gate


@pytest.mark.parametrize("end", ["container", "sandbox"])
async def test_a_start_that_outlived_its_caller_does_not_outlive_a_stop(
    engine: Engine, directory: Path, end: str
) -> None:
    gate = Gate("StartContainer.started")
    async with Supervisor(service_config(engine, directory), on_step=gate) as supervisor:
        runtime, config = supervisor.runtime, pod_config("late")
        sandbox_id = await runtime.run_pod_sandbox(config)
        container_id = await runtime.create_container(sandbox_id, container_config(), config)
        async with anyio.create_task_group() as callers:
            callers.start_soon(runtime.start_container, container_id)
            await gate.reached.wait()
            callers.cancel_scope.cancel()
        stopped = anyio.Event()

        async def stop() -> None:
            if end == "container":
                await runtime.stop_container(container_id, 0)
            else:
                await runtime.stop_pod_sandbox(sandbox_id)
            stopped.set()

        def runs() -> bool:
            state = engine.request("GET", f"/containers/{container_id}/json")[1]["State"]
            return bool(state["Running"])

        async with anyio.create_task_group() as callers:
            callers.start_soon(stop)
            await until(lambda: not runs(), "the engine was asked beside the start")
            assert not stopped.is_set(), "the start is under way still"
            if end == "sandbox":
                with pytest.raises(FailedPrecondition, match=r"being stopped|not ready"):
                    await runtime.create_container(sandbox_id, container_config("other"), config)
            gate.go_on.set()
        assert not runs()
        status = (await runtime.container_status(container_id)).status
        assert status.state == cri.CONTAINER_EXITED
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_what_somebody_else_removes_at_the_same_time_is_removed(
    engine: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime, config = supervisor.runtime, pod_config("twice")
        sandbox_id = await runtime.run_pod_sandbox(config)
        ids = []
        for number in range(6):
            ids.append(
                await runtime.create_container(sandbox_id, container_config(f"c{number}"), config)
            )
            await runtime.start_container(ids[-1])

        def remove(any_id: str) -> None:
            engine.request("DELETE", f"/containers/{any_id}?force=1")

        async with anyio.create_task_group() as group:
            for any_id in ids:
                group.start_soon(anyio.to_thread.run_sync, remove, any_id)
                group.start_soon(runtime.remove_container, any_id)
        assert [container["Id"] for container in engine.containers()] == [sandbox_id]
        assert await runtime.list_containers() == []
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, remove, sandbox_id)
            group.start_soon(runtime.remove_pod_sandbox, sandbox_id)
        assert engine.containers() == []
