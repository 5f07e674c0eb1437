"""Plugins that change containers that are there, that are started with the service, and those that
are required."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.nri.connection import Refused
from asupervisor.nri.stub import PluginStub, api
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.plugins import Adjuster, Watcher, config_with_nri, plugged
from tests.harness.pods import container_config, pod_config, until

ROOT = Path(__file__).parents[3]


def update(container_id: str, shares: int) -> api.ContainerUpdate:
    asked = api.ContainerUpdate(container_id=container_id)
    asked.linux.resources.cpu.shares.value = shares
    return asked


async def shares(supervisor: Supervisor, container_id: str) -> int:
    status = (await supervisor.runtime.container_status(container_id)).status
    return int(status.resources.linux.cpu_shares)


class Balancer(PluginStub):
    """Changes a neighbour with each event of another container."""

    def __init__(self) -> None:
        super().__init__("balancer", "30")
        self.neighbour = ""

    def _update(self, value: int) -> list[api.ContainerUpdate]:
        return [update(self.neighbour, value)] if self.neighbour else []

    async def create_container(self, pod: Any, container: Any) -> api.CreateContainerResponse:
        return api.CreateContainerResponse(update=self._update(111))

    async def update_container(
        self, pod: Any, container: api.Container, resources: api.LinuxResources
    ) -> api.UpdateContainerResponse:
        return api.UpdateContainerResponse(
            update=[*self._update(222), update(container.id, resources.cpu.shares.value + 1)]
        )

    async def stop_container(self, pod: Any, container: Any) -> api.StopContainerResponse:
        return api.StopContainerResponse(update=self._update(333))


async def test_other_containers_are_changed_with_an_answer(engine: Engine, directory: Path) -> None:
    balancer = Balancer()
    pod = pod_config("balanced")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, balancer),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        neighbour = await runtime.create_container(sandbox_id, container_config("a"), pod)
        await runtime.start_container(neighbour)
        balancer.neighbour = neighbour
        other = await runtime.create_container(sandbox_id, container_config("b"), pod)
        assert await shares(supervisor, neighbour) == 111
        await runtime.start_container(other)
        await runtime.update_container_resources(other, cri.LinuxContainerResources(cpu_shares=40))
        assert await shares(supervisor, neighbour) == 222
        assert await shares(supervisor, other) == 41
        await runtime.stop_container(other, 0)
        assert await shares(supervisor, neighbour) == 333
        balancer.neighbour = ""
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_plugin_changes_and_evicts_containers_unasked(
    engine: Engine, directory: Path
) -> None:
    watcher = Watcher()
    pod = pod_config("unasked")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, watcher),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        await runtime.start_container(container_id)
        refused = api.ContainerUpdate(container_id=container_id)
        refused.linux.resources.rdt_class.value = "gold"
        failed = await watcher.update_containers(
            [update(container_id, 55), update("nobody", 55), refused]
        )
        assert [one.container_id for one in failed] == ["nobody", container_id]
        assert await shares(supervisor, container_id) == 55
        await watcher.update_containers(
            [], [api.ContainerEviction(container_id=container_id, reason="too loud")]
        )
        await until(lambda: watcher.names(container_id)[-1] == "StopContainer", "it was evicted")
        await runtime.remove_pod_sandbox(sandbox_id)


class Impatient(PluginStub):
    """Asks for updates while it is asked itself."""

    def __init__(self) -> None:
        super().__init__("impatient", "40")
        self.told: list[str] = []

    async def start_container(self, pod: Any, container: api.Container) -> None:
        try:
            await self.update_containers([update(container.id, 9)])
        except Refused as error:
            self.told.append(error.message)


async def test_a_plugin_that_asks_while_it_is_asked_is_dropped_and_blocks_nobody(
    engine: Engine, directory: Path
) -> None:
    pod = pod_config("impatient")
    config = config_with_nri(engine, directory, request_timeout_s=0.5)
    async with (
        Supervisor(config) as supervisor,
        plugged(directory, Impatient()),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        with anyio.fail_after(60):
            await runtime.start_container(container_id)
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_required_plugin_blocks_containers_until_it_is_there(
    engine: Engine, directory: Path
) -> None:
    pod = pod_config("required")
    config = config_with_nri(engine, directory, required_plugins=("adjuster",))
    async with Supervisor(config) as supervisor:
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        with pytest.raises(FailedPrecondition, match="adjuster are required and not there"):
            await runtime.create_container(sandbox_id, container_config(), pod)
        assert not await runtime.list_containers()
        async with plugged(directory, Adjuster(lambda wanted: None)):
            await runtime.create_container(sandbox_id, container_config(), pod)
        await runtime.remove_pod_sandbox(sandbox_id)


class Strict(PluginStub):
    """Rejects what others set."""

    async def validate_container_adjustment(
        self, request: api.ValidateContainerAdjustmentRequest
    ) -> api.ValidateContainerAdjustmentResponse:
        owners = request.owners.owners[request.container.id].compound[api.Env].owners
        return api.ValidateContainerAdjustmentResponse(
            reject=bool(owners), reason=f"set by {', '.join(owners.values())}"
        )


async def test_a_plugin_that_validates_rejects_what_others_want(
    engine: Engine, directory: Path
) -> None:
    pod = pod_config("validated")

    def adjust(wanted: api.ContainerAdjustment) -> None:
        wanted.env.add(key="K", value="1")

    adjuster = Adjuster(adjust)
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, adjuster, Strict("strict", "90")),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        with pytest.raises(FailedPrecondition, match=r"90-strict rejects.*set by 10-adjuster"):
            await runtime.create_container(sandbox_id, container_config(), pod)
        adjuster.adjust = lambda wanted: None
        await runtime.create_container(sandbox_id, container_config(), pod)
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_plugin_of_the_directory_is_there_for_the_first_pod(
    engine: Engine, directory: Path
) -> None:
    """The example, as an operator would install it."""
    plugins = directory / "plugins"
    plugins.mkdir()
    program = plugins / "10-devices"
    example = (ROOT / "examples" / "nri_plugin.py").read_text()
    program.write_text(f"#!{sys.executable}\n{example}")
    program.chmod(0o755)
    (plugins / "not-a-plugin").write_text("#!/bin/sh\n")
    (plugins / "not-a-plugin").chmod(0o755)
    (plugins / "20-broken").write_text("#!/bin/false\n")
    (plugins / "20-broken").chmod(0o755)

    pod = pod_config("from-directory")
    pod.annotations["devices.example.org/container.main"] = "/dev/fuse"
    pod.annotations["nofile.example.org/container.main"] = "4096"
    if not await anyio.Path("/dev/fuse").exists():
        pod.annotations["devices.example.org/container.main"] = "/dev/zero"
    config = config_with_nri(
        engine, directory, registration_timeout_s=30.0, disable_connections=True
    )
    async with Supervisor(config) as supervisor:
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        await runtime.start_container(container_id)
        command = ("sh", "-c", "ulimit -n; ls -l /dev")
        shown = (await runtime.exec_sync(container_id, command, 20)).stdout.decode()
        device = pod.annotations["devices.example.org/container.main"].rpartition("/")[2]
        assert shown.startswith("4096\n") and device in shown
        await runtime.remove_pod_sandbox(sandbox_id)
    assert not await anyio.Path(f"{directory}/nri").exists()
