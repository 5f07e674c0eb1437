"""Every step of a change may be its last: by an error, and it is undone; by the death of the
service, and what it left can be cleared.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from asupervisor.errors import FailedPrecondition, ServiceError, Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.leaks import network_namespaces
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service, service_config

RUN_STEPS = ("created", "checkpointed", "started", "resolved", "networked", "completed")
CREATE_STEPS = ("created", "logged")
DNS = cri.DNSConfig(servers=["192.0.2.53"])


class Failpoint:
    """Fails after a step, as often as it is armed; notes every step."""

    def __init__(self) -> None:
        self.armed = ""
        self.steps: list[str] = []

    async def __call__(self, step: str) -> None:
        self.steps.append(step)
        if step == self.armed:
            self.armed = ""
            raise FailedPrecondition(f"failpoint after {step}")


def checkpoints(root: Path) -> list[str]:
    """Sandbox ids that have a checkpoint on disk."""
    return sorted(path.name for path in (root / "sandbox").iterdir())


async def test_every_step_of_run_pod_sandbox_is_undone_when_a_later_one_fails(
    engine: Engine, directory: Path
) -> None:
    failpoint = Failpoint()
    async with Supervisor(service_config(engine, directory), on_step=failpoint) as supervisor:
        assert supervisor.shim is not None
        namespaces = network_namespaces()
        for step in RUN_STEPS:
            failpoint.armed = f"RunPodSandbox.{step}"
            with pytest.raises(FailedPrecondition, match=f"failpoint after RunPodSandbox.{step}"):
                await supervisor.runtime.run_pod_sandbox(pod_config("undone", dns_config=DNS))
            assert failpoint.armed == "", "the step was reached"
            assert engine.containers() == [], step
            assert checkpoints(directory / "root") == [], step
            assert await supervisor.runtime.list_pod_sandbox() == [], step
            assert (
                not supervisor.shim.store.sandboxes and supervisor.shim.operations.under_way == []
            )
            await until(
                lambda: network_namespaces() == namespaces,
                f"the network namespace is gone after {step}",
            )
        seen = [step for step in failpoint.steps if step.startswith("RunPodSandbox.")]
        assert seen[-len(RUN_STEPS) :] == [f"RunPodSandbox.{step}" for step in RUN_STEPS], (
            "the list above has every step"
        )
        sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("undone", dns_config=DNS))
        await supervisor.runtime.stop_pod_sandbox(sandbox_id)
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)


async def test_every_step_of_create_container_is_undone_when_a_later_one_fails(
    engine: Engine, directory: Path
) -> None:
    failpoint = Failpoint()
    async with Supervisor(service_config(engine, directory), on_step=failpoint) as supervisor:
        runtime, sandbox_config = (
            supervisor.runtime,
            pod_config("undone", log_directory=directory / "logs"),
        )
        sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
        for step in CREATE_STEPS:
            failpoint.armed = f"CreateContainer.{step}"
            with pytest.raises(FailedPrecondition, match=f"failpoint after CreateContainer.{step}"):
                await runtime.create_container(
                    sandbox_id, container_config(log_path="main.log"), sandbox_config
                )
            assert [container["Id"] for container in engine.containers()] == [sandbox_id], step
            assert await runtime.list_containers() == [], step
        seen = [step for step in failpoint.steps if step.startswith("CreateContainer.")]
        assert seen[-len(CREATE_STEPS) :] == [f"CreateContainer.{step}" for step in CREATE_STEPS]
        container_id = await runtime.create_container(
            sandbox_id, container_config(log_path="main.log"), sandbox_config
        )
        await runtime.start_container(container_id)
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


async def refuse(container: str, force: bool = False) -> None:
    raise Unavailable(f"removal of {container} refused")


@pytest.mark.parametrize("step", RUN_STEPS)
async def test_what_cannot_be_undone_stays_visible_and_can_be_cleared(
    engine: Engine, directory: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failpoint = Failpoint()
    async with Supervisor(service_config(engine, directory), on_step=failpoint) as supervisor:
        assert supervisor.shim is not None
        runtime, containers = supervisor.runtime, supervisor.shim.engine.containers

        failpoint.armed = f"RunPodSandbox.{step}"
        with monkeypatch.context() as patch:
            patch.setattr(containers, "remove", refuse)
            with pytest.raises(
                FailedPrecondition,
                match=f"failpoint after RunPodSandbox.{step}; undoing it failed too: .*refused",
            ):
                await runtime.run_pod_sandbox(pod_config("kept", dns_config=DNS))
        (left,) = engine.containers()
        (shown,) = await runtime.list_pod_sandbox()
        assert (shown.id, shown.state) == (left["Id"], cri.SANDBOX_NOTREADY)
        assert (await runtime.pod_sandbox_status(shown.id)).status.state == cri.SANDBOX_NOTREADY
        with pytest.raises(FailedPrecondition, match="not ready"):
            await runtime.create_container(shown.id, container_config(), pod_config("kept"))
        await runtime.stop_pod_sandbox(shown.id)
        await runtime.remove_pod_sandbox(shown.id)
        assert await runtime.list_pod_sandbox() == []
        assert checkpoints(directory / "root") == []


async def test_a_container_that_cannot_be_undone_stays_visible(
    engine: Engine, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failpoint = Failpoint()
    async with Supervisor(service_config(engine, directory), on_step=failpoint) as supervisor:
        assert supervisor.shim is not None
        runtime, containers = supervisor.runtime, supervisor.shim.engine.containers

        sandbox_id = await runtime.run_pod_sandbox(pod_config("kept"))
        first = await runtime.create_container(
            sandbox_id, container_config("first"), pod_config("kept")
        )
        failpoint.armed = "CreateContainer.created"
        with monkeypatch.context() as patch:
            patch.setattr(containers, "remove", refuse)
            with pytest.raises(FailedPrecondition, match="undoing it failed too"):
                await runtime.create_container(sandbox_id, container_config(), pod_config("kept"))
        (shown,) = [item for item in await runtime.list_containers() if item.id != first]
        assert (shown.state, shown.metadata.name) == (cri.CONTAINER_CREATED, "main")
        await runtime.remove_container(shown.id)
        assert [item.id for item in await runtime.list_containers()] == [first]
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_retry_after_what_could_not_be_undone_makes_way_for_itself(
    engine: Engine, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failpoint = Failpoint()
    async with Supervisor(service_config(engine, directory), on_step=failpoint) as supervisor:
        assert supervisor.shim is not None
        runtime, containers = supervisor.runtime, supervisor.shim.engine.containers

        failpoint.armed = "RunPodSandbox.started"
        with monkeypatch.context() as patch:
            patch.setattr(containers, "remove", refuse)
            with pytest.raises(ServiceError):
                await runtime.run_pod_sandbox(pod_config("again"))
        sandbox_id = await runtime.run_pod_sandbox(pod_config("again"))
        assert [container["Id"] for container in engine.containers()] == [sandbox_id]
        assert checkpoints(directory / "root") == [sandbox_id]
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


class DyingService(Service):
    """Dies right after a step."""

    def __init__(self, engine: Engine, directory: Path, step: str) -> None:
        super().__init__(engine, directory)
        self.step = step

    @property
    def command(self) -> list[str]:
        settings = {
            "socket": str(self.socket),
            "engine": self.docker_endpoint,
            "root": str(self.root),
        }
        return [
            sys.executable,
            "-m",
            "tests.harness.dying_service",
            self.step,
            json.dumps(settings),
        ]


async def die(engine: Engine, directory: Path, step: str) -> None:
    """Run a pod with a container, stop and remove it, on a service that dies right after
    ``step``.
    """
    dying = DyingService(engine, directory, step)
    dying.start()

    async def change() -> None:
        async with RemoteRuntimeService.connect(dying.endpoint) as runtime:
            sandbox_config = pod_config("mortal", log_directory=directory / "logs", dns_config=DNS)
            sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
            container_id = await runtime.create_container(
                sandbox_id, container_config(log_path="main.log"), sandbox_config
            )
            await runtime.start_container(container_id)
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)

    with pytest.raises((ServiceError, BaseExceptionGroup)):
        await change()
    assert dying.process is not None
    assert dying.process.wait(10) == -9
    dying.process = None


HALF_BUILT = tuple(f"RunPodSandbox.{step}" for step in RUN_STEPS[1:-1])
"""After these the checkpoint says that steps are missing: the next start takes such a sandbox away
by itself.
"""


@pytest.mark.parametrize(
    "step",
    [
        *(f"RunPodSandbox.{step}" for step in RUN_STEPS),
        *(f"CreateContainer.{step}" for step in CREATE_STEPS),
        "StartContainer.started",
        "StopPodSandbox.released",
        "RemoveContainer.removed",
        "RemovePodSandbox.released",
        "RemovePodSandbox.removed",
    ],
)
async def test_death_at_any_step_leaves_nothing_that_stop_and_remove_cannot_clear(
    engine: Engine, directory: Path, step: str
) -> None:
    namespaces = network_namespaces()
    await die(engine, directory, step)

    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        if step in HALF_BUILT:
            await until(lambda: engine.containers() == [], "the half-built sandbox is gone")
        else:
            shown = {sandbox.id for sandbox in await runtime.list_pod_sandbox()}
            shown |= {container.id for container in await runtime.list_containers()}
            left = {container["Id"] for container in engine.containers()} | set(
                checkpoints(directory / "root")
            )
            assert left == shown, (
                "all that the engine or the disk still has is shown, so that kubelet can clear it"
            )
        if step == "RunPodSandbox.completed":
            (sandbox,) = await runtime.list_pod_sandbox()
            assert sandbox.state == cri.SANDBOX_READY, (
                "every step was taken; only the answer is missing"
            )
        for sandbox in await runtime.list_pod_sandbox():
            await runtime.stop_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)
        await until(lambda: engine.containers() == [], "every container is gone")
        await until(lambda: checkpoints(directory / "root") == [], "every checkpoint is gone")
        await until(lambda: network_namespaces() == namespaces, "every network namespace is gone")

        async def nothing_shown() -> bool:
            return await runtime.list_pod_sandbox() == [] and await runtime.list_containers() == []

        await until(nothing_shown, "nothing is shown any more")
        sandbox_config = pod_config("mortal", log_directory=directory / "logs", dns_config=DNS)
        sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
        container_id = await runtime.create_container(
            sandbox_id, container_config(log_path="main.log"), sandbox_config
        )
        await runtime.start_container(container_id)
        assert (await runtime.pod_sandbox_status(sandbox_id)).status.state == cri.SANDBOX_READY
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_container_that_was_made_to_read_an_image_does_not_outlive_the_next_start(
    engine: Engine, directory: Path
) -> None:
    """It is not a pod's, so kubelet does not remove it, and while it exists its image cannot be
    removed.
    """

    died: list[str] = []

    async def on_step(step: str) -> None:
        if step == "CreateContainer.created":
            died.extend(
                item["Id"]
                for item in engine.containers()
                if not item["Labels"].get("io.kubernetes.docker.type")
            )

    body = {
        "Image": BUSYBOX_IMAGE,
        "Cmd": ["none"],
        "Labels": {"io.asupervisor.temporary": "accounts"},
    }
    status, answer = engine.request(
        "POST", "/containers/create?name=asupervisor-accounts-left", body
    )
    assert status == 201, answer
    async with Supervisor(service_config(engine, directory), on_step=on_step) as supervisor:
        await until(lambda: engine.containers() == [], "what was left is gone")
        sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("reads"))
        await supervisor.runtime.create_container(
            sandbox_id, container_config(), pod_config("reads")
        )
        assert died == [], "the reading itself leaves nothing either"
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)
