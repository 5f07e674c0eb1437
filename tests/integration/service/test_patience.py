"""Clients that give up: nothing of their call stays behind, and what was begun for them is not
torn.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import DeadlineExceeded
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.leaks import no_task_left
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import service_config


class Gate:
    """Holds a change up after one step until the test lets it go."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.reached = anyio.Event()
        self.go_on = anyio.Event()

    async def __call__(self, step: str) -> None:
        if step == self.step:
            self.reached.set()
            await self.go_on.wait()


async def test_a_retry_joins_the_pod_that_an_earlier_caller_gave_up_on(
    engine: Engine, directory: Path
) -> None:
    gate = Gate("RunPodSandbox.started")
    async with Supervisor(service_config(engine, directory), on_step=gate) as supervisor:
        runtime = supervisor.runtime
        async with anyio.create_task_group() as callers:
            callers.start_soon(runtime.run_pod_sandbox, pod_config("joined"))
            await gate.reached.wait()
            callers.cancel_scope.cancel()
        assert supervisor.shim is not None
        assert len(supervisor.shim.operations.under_way) == 1
        answers: list[str] = []

        async def retry() -> None:
            answers.append(await runtime.run_pod_sandbox(pod_config("joined")))

        async with anyio.create_task_group() as callers:
            callers.start_soon(retry)
            callers.start_soon(retry)
            gate.go_on.set()
        (container,) = engine.containers()
        assert answers == [container["Id"]] * 2
        await runtime.stop_pod_sandbox(container["Id"])
        await runtime.remove_pod_sandbox(container["Id"])


async def test_a_stop_waits_for_the_run_under_way(engine: Engine, directory: Path) -> None:
    gate = Gate("RunPodSandbox.networked")
    async with Supervisor(service_config(engine, directory), on_step=gate) as supervisor:
        runtime, order = supervisor.runtime, list[str]()

        async def run_it() -> None:
            await runtime.run_pod_sandbox(pod_config("ordered"))
            order.append("run")

        async def stop_it(sandbox_id: str) -> None:
            await runtime.stop_pod_sandbox(sandbox_id)
            order.append("stop")

        async with anyio.create_task_group() as callers:
            callers.start_soon(run_it)
            await gate.reached.wait()
            (container,) = engine.containers()

            async def shown() -> bool:
                return [item.id for item in await runtime.list_pod_sandbox()] == [container["Id"]]

            await until(shown, "what is being made is shown, as not ready")
            assert (
                await runtime.pod_sandbox_status(container["Id"])
            ).status.state == cri.SANDBOX_NOTREADY
            callers.start_soon(stop_it, container["Id"])
            assert supervisor.shim is not None
            operations = supervisor.shim.operations
            await until(lambda: len(operations.under_way) == 2, "the stop has arrived")
            gate.go_on.set()
        assert order == ["run", "stop"]
        assert (
            await runtime.pod_sandbox_status(container["Id"])
        ).status.state == cri.SANDBOX_NOTREADY
        await runtime.remove_pod_sandbox(container["Id"])


async def test_a_deadline_that_passes_is_an_error_and_leaves_no_call_behind(
    engine: Engine, directory: Path
) -> None:
    gate = Gate("RunPodSandbox.created")
    async with Supervisor(service_config(engine, directory), on_step=gate) as supervisor:
        async with RemoteRuntimeService.connect(supervisor.endpoint, timeout_s=0.5) as impatient:
            with pytest.raises(DeadlineExceeded):
                await impatient.run_pod_sandbox(pod_config("late"))
        gate.go_on.set()
        assert supervisor.shim is not None
        operations = supervisor.shim.operations
        await until(lambda: operations.under_way == [], "the change has ended")
        (sandbox,) = await supervisor.runtime.list_pod_sandbox()
        assert sandbox.state == cri.SANDBOX_READY
        await supervisor.runtime.stop_pod_sandbox(sandbox.id)
        await supervisor.runtime.remove_pod_sandbox(sandbox.id)


async def test_a_command_whose_caller_is_gone_is_killed(engine: Engine, directory: Path) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime, sandbox_config = supervisor.runtime, pod_config("exec")
        sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
        container_id = await runtime.create_container(
            sandbox_id, container_config(), sandbox_config
        )
        await runtime.start_container(container_id)

        def commands() -> int:
            processes = engine.request("GET", f"/containers/{container_id}/top")[1]["Processes"]
            return sum("sleep 777" in process[-1] for process in processes)

        async with anyio.create_task_group() as callers:
            callers.start_soon(
                runtime.exec_sync, container_id, ["sh", "-c", "sleep 777 & sleep 777"], 600
            )
            await until(lambda: commands() >= 2, "the command and what it started run")
            callers.cancel_scope.cancel()
        await until(lambda: commands() == 0, "the command and what it started are gone")
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_subscribers_that_go_are_forgotten(engine: Engine, directory: Path) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        assert supervisor.shim is not None
        metrics = supervisor.metrics
        async with no_task_left():
            for _ in range(5):
                async with anyio.create_task_group() as listeners:

                    async def listen() -> None:
                        async for _ in supervisor.runtime.get_container_events():
                            pass

                    for _ in range(3):
                        listeners.start_soon(listen)
                    await until(lambda: metrics.event_subscribers.value == 3, "three listen")
                    listeners.cancel_scope.cancel()
                await until(lambda: metrics.event_subscribers.value == 0, "nobody listens")


async def test_an_anyio_scope_around_a_call_catches_its_own_cancellation(
    engine: Engine, directory: Path
) -> None:
    gate = Gate("RunPodSandbox.created")
    async with Supervisor(service_config(engine, directory), on_step=gate) as supervisor:
        with anyio.move_on_after(0.2) as scope:
            await supervisor.runtime.run_pod_sandbox(pod_config("scoped"))
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            async for _ in supervisor.runtime.get_container_events():
                pass
        figures = supervisor.metrics.rpc("RunPodSandbox")
        await until(lambda: figures.in_flight == 0, "the first call has ended")
        call = supervisor.runtime.run_pod_sandbox(pod_config("scoped"))
        task = asyncio.create_task(call)  # a host without anyio cancels a bare task, no scope
        await until(lambda: figures.in_flight == 1, "the call has arrived")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.go_on.set()
        sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("scoped"))
        await supervisor.runtime.stop_pod_sandbox(sandbox_id)
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)
