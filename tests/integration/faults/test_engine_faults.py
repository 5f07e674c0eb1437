"""An engine that is late, frozen, killed, or changed behind the service's back."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ServiceError, Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service


@pytest.fixture
def service(mortal_engine: Engine, directory: Path) -> Iterator[Service]:
    running = Service(mortal_engine, directory)
    running.start()
    yield running
    assert running.stop() == 0


async def runtime_ready(runtime: RemoteRuntimeService) -> tuple[bool, str, str]:
    """The RuntimeReady condition."""
    (condition,) = [
        item for item in (await runtime.status()).status.conditions if item.type == "RuntimeReady"
    ]
    return condition.status, condition.reason, condition.message


async def until_ready(runtime: RemoteRuntimeService, wanted: bool) -> None:
    """Wait for that value of RuntimeReady."""

    async def is_so() -> bool:
        return (await runtime_ready(runtime))[0] is wanted

    await until(is_so, f"RuntimeReady is {wanted}")


async def running_pod(runtime: RemoteRuntimeService, name: str) -> tuple[str, str]:
    """A sandbox with one running container."""
    sandbox_config = pod_config(name)
    sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
    container_id = await runtime.create_container(sandbox_id, container_config(), sandbox_config)
    await runtime.start_container(container_id)
    return sandbox_id, container_id


async def clear(runtime: RemoteRuntimeService, sandbox_id: str) -> None:
    await runtime.stop_pod_sandbox(sandbox_id)
    await runtime.remove_pod_sandbox(sandbox_id)


Call = Callable[[RemoteRuntimeService, RemoteImageService, str, str], Awaitable[object]]

CHANGES: dict[str, Call] = {
    "RunPodSandbox": lambda runtime, images, sandbox_id, container_id: runtime.run_pod_sandbox(
        pod_config("other")
    ),
    "StopPodSandbox": lambda runtime, images, sandbox_id, container_id: runtime.stop_pod_sandbox(
        sandbox_id
    ),
    "RemovePodSandbox": lambda runtime, images, sandbox_id, container_id: (
        runtime.remove_pod_sandbox(sandbox_id)
    ),
    "CreateContainer": lambda runtime, images, sandbox_id, container_id: runtime.create_container(
        sandbox_id, container_config("second"), pod_config("frozen")
    ),
    "StartContainer": lambda runtime, images, sandbox_id, container_id: runtime.start_container(
        container_id
    ),
    "StopContainer": lambda runtime, images, sandbox_id, container_id: runtime.stop_container(
        container_id, 5
    ),
    "RemoveContainer": lambda runtime, images, sandbox_id, container_id: runtime.remove_container(
        container_id
    ),
    "ExecSync": lambda runtime, images, sandbox_id, container_id: runtime.exec_sync(
        container_id, ["true"], exec_timeout_s=5
    ),
    "PullImage": lambda runtime, images, sandbox_id, container_id: images.pull_image(
        "localhost:1/nothing:1"
    ),
    "RemoveImage": lambda runtime, images, sandbox_id, container_id: images.remove_image(
        BUSYBOX_IMAGE
    ),
}


async def all_changes_are_refused(
    runtime: RemoteRuntimeService, images: RemoteImageService, sandbox_id: str, container_id: str
) -> None:
    """Every call that needs the engine fails with UNAVAILABLE and the reason that Status gives,
    long before any deadline.
    """
    for name, call in CHANGES.items():
        _, _, before = await runtime_ready(runtime)
        with anyio.fail_after(5), pytest.raises(Unavailable) as refused:
            await call(runtime, images, sandbox_id, container_id)
        # The probe may have learnt more meanwhile.
        _, _, after = await runtime_ready(runtime)
        assert before in str(refused.value) or after in str(refused.value), name


async def test_a_frozen_engine_slows_no_answer_down_and_is_noticed(
    service: Service, mortal_engine: Engine
) -> None:
    async with (
        RemoteRuntimeService.connect(service.endpoint) as runtime,
        RemoteImageService.connect(service.endpoint) as images,
    ):
        sandbox_id, container_id = await running_pod(runtime, "frozen")
        mortal_engine.signal(signal.SIGSTOP)
        with anyio.fail_after(10):
            await until_ready(runtime, False)
            ready, reason, message = await runtime_ready(runtime)
            assert (ready, reason) == (
                False,
                "EngineNotAnswering",
            ) and "did not answer ping" in message
            assert [item.id for item in await runtime.list_containers()] == [container_id]
            assert [item.id for item in await runtime.list_pod_sandbox()] == [sandbox_id]
            assert (
                await runtime.container_status(container_id)
            ).status.state == cri.CONTAINER_RUNNING
            assert (await runtime.pod_sandbox_status(sandbox_id)).status.state == cri.SANDBOX_READY
            assert await images.list_images()
            assert (await runtime.version()).runtime_name == "docker"
        await all_changes_are_refused(runtime, images, sandbox_id, container_id)
        mortal_engine.signal(signal.SIGCONT)
        await until_ready(runtime, True)
        assert (
            await runtime.exec_sync(container_id, ["echo", "thawed"], exec_timeout_s=10)
        ).stdout == b"thawed\n"
        await clear(runtime, sandbox_id)


async def test_a_command_under_way_when_the_engine_freezes_has_not_failed(
    service: Service, mortal_engine: Engine
) -> None:
    """kubelet counts a timeout against the container's probe, and what it cannot know does not."""

    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        sandbox_id, container_id = await running_pod(runtime, "frozen")

        async def probe() -> None:
            with pytest.raises(Unavailable, match="did not answer ping"):
                await runtime.exec_sync(
                    container_id,
                    ["sh", "-c", "touch /tmp/started; exec sleep 1000"],
                    exec_timeout_s=3,
                )

        async def started() -> bool:
            look = await runtime.exec_sync(container_id, ["ls", "/tmp/started"], exec_timeout_s=10)
            return look.exit_code == 0

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(probe)
                await until(started, "the command runs")
                mortal_engine.signal(signal.SIGSTOP)
        assert "could not be killed" in service.output
        mortal_engine.signal(signal.SIGCONT)
        await until_ready(runtime, True)
        await clear(runtime, sandbox_id)


async def test_verbose_answers_do_without_a_frozen_engine(
    service: Service, mortal_engine: Engine
) -> None:
    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        sandbox_id, container_id = await running_pod(runtime, "verbose")
        mortal_engine.signal(signal.SIGSTOP)
        with anyio.fail_after(10):
            assert (await runtime.status(verbose=True)).info
            assert (
                "inspectError"
                in (await runtime.container_status(container_id, verbose=True)).info["info"]
            )
            assert (
                "inspectError"
                in (await runtime.pod_sandbox_status(sandbox_id, verbose=True)).info["info"]
            )
        mortal_engine.signal(signal.SIGCONT)
        await until_ready(runtime, True)
        assert (
            "inspectError"
            not in (await runtime.container_status(container_id, verbose=True)).info["info"]
        )
        await clear(runtime, sandbox_id)


async def test_a_change_under_way_when_the_engine_freezes_ends_when_it_thaws(
    service: Service, mortal_engine: Engine
) -> None:
    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        sandbox_id, container_id = await running_pod(runtime, "slow")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.stop_container, container_id, 30)
            mortal_engine.signal(signal.SIGSTOP)
            await until_ready(runtime, False)
            mortal_engine.signal(signal.SIGCONT)
        assert (await runtime.container_status(container_id)).status.state == cri.CONTAINER_EXITED
        await until_ready(runtime, True)
        await clear(runtime, sandbox_id)


async def test_a_killed_engine_is_noticed_and_a_restarted_one_is_taken_up(
    service: Service, mortal_engine: Engine
) -> None:
    async with (
        RemoteRuntimeService.connect(service.endpoint) as runtime,
        RemoteImageService.connect(service.endpoint) as images,
    ):
        sandbox_id, container_id = await running_pod(runtime, "killed")
        under_way: list[ServiceError] = []

        async def long_command() -> None:
            with pytest.raises(ServiceError) as broken:
                await runtime.exec_sync(container_id, ["sleep", "600"], exec_timeout_s=600)
            under_way.append(broken.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(long_command)
            await until(
                lambda: len(mortal_engine.inspect(container_id)["ExecIDs"] or []) == 1,
                "the command runs",
            )
            mortal_engine.signal(signal.SIGKILL)
            with anyio.fail_after(10):
                await until_ready(runtime, False)
        assert [error.code for error in under_way] == ["UNAVAILABLE"], (
            "a call under way fails, it does not hang"
        )
        assert [item.id for item in await runtime.list_containers()] == [container_id], (
            "lists still answer from memory"
        )
        await all_changes_are_refused(runtime, images, sandbox_id, container_id)

        await anyio.to_thread.run_sync(mortal_engine.start)
        await until_ready(runtime, True)
        # Without live restore an engine ends its containers when it comes back; the node state
        # must say what is, not what was.
        states = {item["Id"]: item["State"] == "running" for item in mortal_engine.containers()}
        for item in await runtime.list_containers():
            assert (item.state == cri.CONTAINER_RUNNING) == states[item.id]
        for sandbox in await runtime.list_pod_sandbox():
            assert (sandbox.state == cri.SANDBOX_READY) == states[sandbox.id]
        await clear(runtime, sandbox_id)
        assert mortal_engine.containers() == []
        again, _ = await running_pod(runtime, "killed")
        await clear(runtime, again)


async def test_what_others_do_with_the_engine_shows_up(
    service: Service, mortal_engine: Engine
) -> None:
    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        sandbox_id, container_id = await running_pod(runtime, "behind")

        async def shows(state: int | None) -> None:
            async def is_so() -> bool:
                return [item.state for item in await runtime.list_containers()] == (
                    [] if state is None else [state]
                )

            await until(is_so, f"the container is shown as {state}")

        assert mortal_engine.request("POST", f"/containers/{container_id}/kill")[0] == 204
        await shows(cri.CONTAINER_EXITED)
        assert (await runtime.container_status(container_id)).status.exit_code == 137
        assert mortal_engine.request("POST", f"/containers/{container_id}/start")[0] == 204
        await shows(cri.CONTAINER_RUNNING)
        assert mortal_engine.request("DELETE", f"/containers/{container_id}?force=1")[0] == 204
        await shows(None)
        mortal_engine.request("POST", f"/containers/{sandbox_id}/kill")

        async def is_not_ready() -> bool:
            return (
                await runtime.pod_sandbox_status(sandbox_id)
            ).status.state == cri.SANDBOX_NOTREADY

        await until(is_not_ready, "the sandbox is shown as not ready")
        mortal_engine.request("DELETE", f"/containers/{sandbox_id}?force=1")
        # Its checkpoint is still there, so kubelet is shown it until it has torn the network
        # down.
        assert [item.state for item in await runtime.list_pod_sandbox()] == [cri.SANDBOX_NOTREADY]
        await clear(runtime, sandbox_id)
        assert await runtime.list_pod_sandbox() == []
        assert list((service.root / "sandbox").iterdir()) == []


async def test_containers_that_carry_no_label_of_ours_are_never_shown(
    service: Service, mortal_engine: Engine
) -> None:
    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        body = {
            "Image": BUSYBOX_IMAGE,
            "Cmd": ["sleep", "60"],
            "HostConfig": {"NetworkMode": "none"},
        }
        status, answer = mortal_engine.request("POST", "/containers/create?name=foreign", body)
        assert status == 201, answer
        sandbox_id, container_id = await running_pod(runtime, "own")
        assert [item.id for item in await runtime.list_containers()] == [container_id]
        assert [item.id for item in await runtime.list_pod_sandbox()] == [sandbox_id]
        await clear(runtime, sandbox_id)
