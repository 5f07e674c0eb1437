"""How the service ends: in order, on the first signal or its host's wish; without delay on the
second; never with the containers.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ConfigError, ServiceError, Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.loops import on_both_loops
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service, service_config


async def running_pod(runtime: RemoteRuntimeService, name: str) -> tuple[str, str]:
    """A sandbox with one running container."""
    sandbox_config = pod_config(name)
    sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
    container_id = await runtime.create_container(sandbox_id, container_config(), sandbox_config)
    await runtime.start_container(container_id)
    return sandbox_id, container_id


async def execs(engine: Engine, container_id: str) -> int:
    """How many commands the engine knows in a container."""
    document = await anyio.to_thread.run_sync(engine.inspect, container_id)
    return len(document["ExecIDs"] or [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_calls_in_flight_finish_and_further_ones_are_refused(
    engine: Engine, directory: Path, number: int
) -> None:
    service = Service(engine, directory)
    service.start()

    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        _, container_id = await running_pod(runtime, "drained")
        answers: list[cri.ExecSyncResponse] = []
        process = service.process
        assert process is not None

        async def command() -> None:
            waiting = "until [ -e /tmp/go ]; do sleep 0.05; done; echo finished"
            answers.append(
                await runtime.exec_sync(container_id, ["sh", "-c", waiting], exec_timeout_s=60)
            )

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(command)

            async def command_runs() -> bool:
                return await execs(engine, container_id) == 1

            await until(command_runs, "the command runs")
            process.send_signal(number)
            await until(
                lambda: "stopping: calls in flight" in service.output, "it says that it stops"
            )

            async def refuses() -> bool:
                try:
                    await runtime.run_pod_sandbox(pod_config("late"))
                except Unavailable:
                    return True
                return False

            await until(refuses, "further calls are refused")
            assert process.poll() is None and answers == []
            _touch(engine, container_id)
        assert answers[0].stdout == b"finished\n"
        assert process.wait(20) == 0
        assert not service.socket.exists()
        assert {item["State"] for item in engine.containers()} == {"running"}, (
            "the containers keep running"
        )
        assert "stopped; the containers keep running" in service.output
        engine.remove_all()


def _touch(engine: Engine, container_id: str) -> None:
    exec_id = engine.request(
        "POST", f"/containers/{container_id}/exec", {"Cmd": ["touch", "/tmp/go"]}
    )[1]["Id"]
    engine.request("POST", f"/exec/{exec_id}/start", {"Detach": True})


@pytest.mark.parametrize("how", ["a second signal", "the end of the grace"])
async def test_calls_that_take_too_long_are_cut_off_with_unavailable(
    engine: Engine, directory: Path, how: str
) -> None:
    grace = "600s" if how == "a second signal" else "200ms"
    service = Service(engine, directory, flags=("--shutdown-grace", grace))
    service.start()

    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        _, container_id = await running_pod(runtime, "cut")
        cut_off: list[ServiceError] = []

        async def command() -> None:
            with pytest.raises(ServiceError) as caught:
                await runtime.exec_sync(container_id, ["sleep", "600"], exec_timeout_s=600)
            cut_off.append(caught.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(command)

            async def command_runs() -> bool:
                return await execs(engine, container_id) == 1

            await until(command_runs, "the command runs")
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            await until(
                lambda: "stopping: calls in flight" in service.output, "it says that it stops"
            )
            if how == "a second signal":
                service.process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(service.process.wait, 30) == 0
        assert [error.code for error in cut_off] == ["UNAVAILABLE"]
        assert "the service stopped before" in str(cut_off[0])
        assert not service.socket.exists()

        def commands() -> list[str]:
            return [
                process[-1]
                for process in engine.request("GET", f"/containers/{container_id}/top")[1][
                    "Processes"
                ]
            ]

        await until(
            lambda: not [line for line in commands() if "sleep 600" in line],
            "the command that nobody waits for is gone",
        )
        engine.remove_all()


async def test_event_streams_end_at_once_and_do_not_use_up_the_grace(
    engine: Engine, directory: Path
) -> None:
    service = Service(engine, directory, flags=("--shutdown-grace", "600s"))
    service.start()

    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        ended: list[ServiceError] = []

        async def listen() -> None:
            with pytest.raises(ServiceError) as caught:
                async for _ in runtime.get_container_events():
                    pass
            ended.append(caught.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await runtime.version()
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(service.process.wait, 30) == 0
        assert [error.code for error in ended] == ["UNAVAILABLE"]


async def test_a_change_whose_client_is_gone_finishes_before_the_end(
    engine: Engine, directory: Path
) -> None:
    reached, go_on = anyio.Event(), anyio.Event()

    async def on_step(step: str) -> None:
        if step == "RunPodSandbox.started":
            reached.set()
            await go_on.wait()

    supervisor = Supervisor(service_config(engine, directory), on_step=on_step)
    async with supervisor, anyio.create_task_group() as tasks:

        async def give_up() -> None:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_when_reached, scope)
                await supervisor.runtime.run_pod_sandbox(pod_config("orphan"))

        async def cancel_when_reached(scope: anyio.CancelScope) -> None:
            await reached.wait()
            scope.cancel()

        await give_up()
        assert supervisor.shim is not None
        assert [action for _, action, _ in supervisor.shim.operations.under_way] == [
            "RunPodSandbox"
        ]
        tasks.start_soon(_later, go_on)
    (container,) = engine.containers()
    assert container["State"] == "running"
    async with Supervisor(service_config(engine, directory)) as again:
        (sandbox,) = await again.runtime.list_pod_sandbox()
        assert sandbox.state == cri.SANDBOX_READY
        await again.runtime.stop_pod_sandbox(sandbox.id)
        await again.runtime.remove_pod_sandbox(sandbox.id)


async def _later(event: anyio.Event) -> None:
    await anyio.sleep(0.2)
    event.set()


async def test_a_restart_shows_the_same_pods(engine: Engine, directory: Path) -> None:
    before: list[object] = []
    for start in range(2):
        async with Supervisor(service_config(engine, directory)) as supervisor:
            runtime = supervisor.runtime
            if start == 0:
                await running_pod(runtime, "kept")
            (sandbox,) = await runtime.list_pod_sandbox()
            (container,) = await runtime.list_containers()
            sandbox_status = (await runtime.pod_sandbox_status(sandbox.id)).status
            container_status = (await runtime.container_status(container.id)).status
            assert sandbox_status.network.ip
            if start == 0:
                before = [sandbox, container, sandbox_status, container_status]
            else:
                assert [sandbox, container, sandbox_status, container_status] == before
                await runtime.stop_pod_sandbox(sandbox.id)
                await runtime.remove_pod_sandbox(sandbox.id)


@on_both_loops
async def test_the_hosts_own_cancellation_stops_it_cleanly(engine: Engine, directory: Path) -> None:
    entered = asyncio.Event()

    async def host() -> None:
        async with Supervisor(service_config(engine, directory)) as supervisor:
            assert await supervisor.runtime.list_containers() == []
            entered.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(host())  # a host of asyncio's own knows no cancel scopes
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (directory / "cri.sock").exists()
    with anyio.move_on_after(0.5) as scope:
        async with Supervisor(service_config(engine, directory)):
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_two_supervisors_live_in_one_loop_and_one_outlives_the_other(
    engine: Engine, directory: Path
) -> None:
    (directory / "a").mkdir()
    (directory / "b").mkdir()

    async with Supervisor(service_config(engine, directory / "a")) as first:
        async with Supervisor(service_config(engine, directory / "b")) as second:
            sandbox_id, _ = await running_pod(first.runtime, "shared")

            async def seen() -> bool:
                return [item.id for item in await second.runtime.list_pod_sandbox()] == [sandbox_id]

            await until(seen, "each sees what the other does on the same engine")
        await first.runtime.stop_pod_sandbox(sandbox_id)
        await first.runtime.remove_pod_sandbox(sandbox_id)


async def test_what_the_host_raises_comes_out_as_it_is(engine: Engine, directory: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Supervisor(service_config(engine, directory)):
            raise ZeroDivisionError
    assert not (directory / "cri.sock").exists()


async def test_a_start_that_fails_raises_one_of_our_errors_and_leaves_nothing(
    engine: Engine, directory: Path
) -> None:
    has = engine.request("GET", "/info")[1]["CgroupDriver"]

    with pytest.raises(ConfigError, match="cgroup-driver"):
        await Supervisor(
            service_config(
                engine,
                directory,
                cgroup_driver="systemd" if has == "cgroupfs" else "cgroupfs",
            )
        ).__aenter__()
    assert not (directory / "cri.sock").exists()
