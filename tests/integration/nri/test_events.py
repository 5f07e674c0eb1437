"""What plugins are told, and when."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.nri.stub import PluginStub, api
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.plugins import Watcher, config_with_nri, plugged
from tests.harness.pods import container_config, pod_config, until


async def test_a_pod_and_its_container_are_told_from_their_beginning_to_their_end(
    engine: Engine, directory: Path
) -> None:
    watcher = Watcher()
    pod = pod_config("told-life")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, watcher),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        told, _ = watcher.last("RunPodSandbox")
        assert (told.id, told.name, told.namespace, told.uid) == (
            sandbox_id,
            "told-life",
            "default",
            "uid-told-life",
        )
        assert told.labels["app"] == "told-life" and told.annotations["note"]
        assert told.pid > 0 and told.ips
        network = next(one for one in told.linux.namespaces if one.type == "network")
        assert network.path == f"/proc/{told.pid}/ns/net"
        config = container_config(
            envs=[cri.KeyValue(key="GIVEN", value=b"yes")],
            linux=cri.LinuxContainerConfig(resources=cri.LinuxContainerResources(cpu_shares=77)),
        )
        container_id = await runtime.create_container(sandbox_id, config, pod)
        _, asked = watcher.last("CreateContainer")
        assert (asked.id, asked.pod_sandbox_id, asked.name) == (
            container_id,
            sandbox_id,
            "main",
        )
        assert asked.state == api.CONTAINER_CREATED and asked.args[0] == "sh"
        assert "GIVEN=yes" in asked.env
        assert asked.linux.resources.cpu.shares.value == 77
        assert asked.linux.cgroups_path.endswith(container_id)
        await runtime.start_container(container_id)
        _, running = watcher.last("PostStartContainer")
        assert running.state == api.CONTAINER_RUNNING and running.pid > 0
        await runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(cpu_shares=99)
        )
        await runtime.stop_container(container_id, 0)
        await runtime.remove_container(container_id)
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
    assert watcher.names(container_id) == [
        "CreateContainer",
        "PostCreateContainer",
        "StartContainer",
        "PostStartContainer",
        "UpdateContainer",
        "PostUpdateContainer",
        "StopContainer",
        "RemoveContainer",
    ]
    assert watcher.names(sandbox_id) == [
        "RunPodSandbox",
        "StopPodSandbox",
        "RemovePodSandbox",
    ]


async def test_a_container_that_ends_by_itself_is_told_once(
    engine: Engine, directory: Path
) -> None:
    watcher = Watcher()
    pod = pod_config("told-exit")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, watcher),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        config = container_config(command=("sh", "-c", "exit 3"))
        container_id = await runtime.create_container(sandbox_id, config, pod)
        await runtime.start_container(container_id)
        await until(lambda: "StopContainer" in watcher.names(container_id), "its end is told")
        assert watcher.last("StopContainer")[1].exit_code == 3
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
    assert watcher.names(container_id).count("StopContainer") == 1
    assert watcher.names()[-3:] == ["StopPodSandbox", "RemoveContainer", "RemovePodSandbox"]


async def test_who_comes_later_is_told_what_is_there(engine: Engine, directory: Path) -> None:
    pod = pod_config("told-late")
    async with Supervisor(config_with_nri(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        ids = []
        for name, command in (("lives", ("sleep", "1000")), ("ended", ("true",))):
            config = container_config(name, command)
            ids.append(await runtime.create_container(sandbox_id, config, pod))
            await runtime.start_container(ids[-1])
        await until(
            lambda: (
                supervisor.shim
                and supervisor.shim.store.container(ids[1]).status.state == cri.CONTAINER_EXITED
            ),
            "the second container has ended",
        )
        watcher = Watcher()
        async with plugged(directory, watcher):
            pods, containers = watcher.there
            assert [one.id for one in pods] == [sandbox_id]
            assert [one.id for one in containers] == ids[:1]
            assert containers[0].state == api.CONTAINER_RUNNING
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)
        assert watcher.names(ids[0]) == ["StopContainer", "RemoveContainer"]
        assert watcher.names(ids[1]) == ["RemoveContainer"]


class Refuser(Watcher):
    """Refuses what it is told to, once."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.refused = set(refused)

    async def _keep(self, name: str, *about: object) -> None:
        await super()._keep(name, *about)
        if name in self.refused:
            self.refused.discard(name)
            raise ValueError(f"{name} does not suit me")


async def test_a_pod_that_a_plugin_refuses_leaves_nothing(engine: Engine, directory: Path) -> None:
    refuser = Refuser("RunPodSandbox")
    pod = pod_config("refused-pod")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, refuser),
    ):
        runtime = supervisor.runtime
        with pytest.raises(FailedPrecondition, match=r"50-watcher.*does not suit me"):
            await runtime.run_pod_sandbox(pod)
        assert not await runtime.list_pod_sandbox()
        assert refuser.names() == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
        sandbox_id = await runtime.run_pod_sandbox(pod)
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_container_that_a_plugin_refuses_leaves_nothing(
    engine: Engine, directory: Path
) -> None:
    refuser = Refuser("CreateContainer", "StartContainer")
    pod = pod_config("refused-container")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, refuser),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        with pytest.raises(FailedPrecondition, match="does not suit me"):
            await runtime.create_container(sandbox_id, container_config(), pod)
        assert not await runtime.list_containers()
        assert refuser.names()[1:] == ["CreateContainer", "StopContainer", "RemoveContainer"]
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        with pytest.raises(FailedPrecondition, match="does not suit me"):
            await runtime.start_container(container_id)
        await runtime.start_container(container_id)
        await runtime.remove_pod_sandbox(sandbox_id)


class Hanger(PluginStub):
    """Answers nothing."""

    def __init__(self) -> None:
        super().__init__("hanger", "20")
        self.asked = anyio.Event()
        self.go_on = anyio.Event()

    async def create_container(self, pod: api.PodSandbox, container: api.Container) -> None:
        self.asked.set()
        await self.go_on.wait()


async def test_what_is_being_made_is_not_shown_and_a_plugin_that_hangs_is_dropped(
    engine: Engine, directory: Path
) -> None:
    hanger, watcher = Hanger(), Watcher()
    pod = pod_config("hung")
    config = config_with_nri(engine, directory, request_timeout_s=1.0)
    async with Supervisor(config) as supervisor:
        runtime = supervisor.runtime
        made = []
        async with plugged(directory, hanger, watcher):
            sandbox_id = await runtime.run_pod_sandbox(pod)

            async def create() -> None:
                made.append(await runtime.create_container(sandbox_id, container_config(), pod))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(create)
                await hanger.asked.wait()
                assert not await runtime.list_containers()
            [container] = await runtime.list_containers()
            assert [container.id] == made
            hanger.go_on.set()
            # The others go on being asked.
            assert watcher.names(made[0]) == ["CreateContainer", "PostCreateContainer"]
            assert supervisor.shim is not None and supervisor.shim.hooks.plugins is not None
            await runtime.start_container(made[0])
        await until(
            lambda: supervisor.shim and supervisor.shim.hooks.plugins is None,
            "nothing is asked without plugins",
        )
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_pod_that_is_resized_is_asked_about(engine: Engine, directory: Path) -> None:
    refuser = Refuser("UpdatePodSandbox")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, refuser),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod_config("resized"))
        resources = cri.LinuxContainerResources(cpu_quota=7000)
        with pytest.raises(ServiceError, match="does not suit me"):
            await runtime.update_pod_sandbox_resources(sandbox_id, resources=resources)
        await runtime.update_pod_sandbox_resources(sandbox_id, resources=resources)
        pod, _ = refuser.last("PostUpdatePodSandbox")
        assert pod.linux.pod_resources.cpu.quota.value == 7000
        await runtime.remove_pod_sandbox(sandbox_id)
