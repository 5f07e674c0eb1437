"""Names and ports that somebody else holds: who holds them decides, never the words of an error;
and a failed start leaves nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.errors import AlreadyExists, ServiceError
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.fake_engine import FakeEngine, container_document
from tests.harness.pods import container_config, pod_config
from tests.harness.service import service_config


def hold(engine: Engine, name: str, labels: dict[str, str] | None = None) -> str:
    """A container of that name which nobody started."""
    body = {
        "Image": BUSYBOX_IMAGE,
        "Cmd": ["sleep", "600"],
        "Labels": labels or {},
        "HostConfig": {"NetworkMode": "none"},
    }
    status, answer = engine.request("POST", f"/containers/create?name={name}", body)
    assert status == 201, answer
    return str(answer["Id"])


async def test_a_dead_pod_that_holds_the_name_makes_way(engine: Engine, directory: Path) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        first = await runtime.run_pod_sandbox(pod_config("same"))
        container = await runtime.create_container(first, container_config(), pod_config("same"))
        await runtime.start_container(container)
        await runtime.stop_container(container, 5)
        again = await runtime.create_container(first, container_config(), pod_config("same"))
        assert again != container and [item.id for item in await runtime.list_containers()] == [
            again
        ]
        await runtime.stop_pod_sandbox(first)
        second = await runtime.run_pod_sandbox(pod_config("same"))
        assert second != first
        assert [item.id for item in await runtime.list_pod_sandbox()] == [second]
        assert sorted(path.name for path in (directory / "root" / "sandbox").iterdir()) == [second]
        await runtime.stop_pod_sandbox(second)
        await runtime.remove_pod_sandbox(second)
        for item in await runtime.list_containers():
            await runtime.remove_container(item.id)


async def test_a_living_pod_is_not_pushed_aside(engine: Engine, directory: Path) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        first = await runtime.run_pod_sandbox(pod_config("same"))
        with pytest.raises(AlreadyExists, match=first[:12]):
            await runtime.run_pod_sandbox(pod_config("same"))
        assert (await runtime.pod_sandbox_status(first)).status.state == cri.SANDBOX_READY
        await runtime.stop_pod_sandbox(first)
        await runtime.remove_pod_sandbox(first)


async def test_a_container_that_is_no_pods_is_left_alone_whatever_it_is_called(
    engine: Engine, directory: Path
) -> None:
    foreign = hold(engine, "k8s_POD_same_default_uid-same_0")
    async with Supervisor(service_config(engine, directory)) as supervisor:
        with pytest.raises(AlreadyExists, match="not a pod's"):
            await supervisor.runtime.run_pod_sandbox(pod_config("same"))
    assert [container["Id"] for container in engine.containers()] == [foreign]
    engine.request("DELETE", f"/containers/{foreign}?force=1")


async def test_a_name_that_is_taken_by_nobody_is_gone_round_as_the_peers_do(
    directory: Path,
) -> None:
    """An engine that lost a container can still count its name as taken."""

    with FakeEngine(directory / "docker.sock") as fake:
        fake.info["Architecture"] = "x86_64"
        names: list[str] = []

        def create() -> tuple[int, object]:
            name = next(
                query for query in reversed(fake.queries) if query.startswith("name=")
            ).removeprefix("name=")
            names.append(name)
            if len(names) == 1:
                return 409, {"message": "the name is in use"}
            fake.containers["a" * 64] = container_document(
                "a" * 64, name, sandbox=True, state={"Pid": 1}
            )
            return 201, {"Id": "a" * 64}

        fake.answers["POST /containers/create"] = create
        fake.answers["POST /images/load"] = lambda: (200, b"")
        fake.answers[f"POST /containers/{'a' * 64}/start"] = lambda: (204, b"")
        engine = Engine(directory)
        config = service_config(engine, directory, docker_endpoint=fake.endpoint)
        async with Supervisor(config) as supervisor:
            sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("same"))
            status = (await supervisor.runtime.pod_sandbox_status(sandbox_id)).status
            assert status.metadata == pod_config("same").metadata
        assert names[0] == "k8s_POD_same_default_uid-same_0"
        prefix, _, suffix = names[1].rpartition("_")
        assert prefix == names[0] and len(suffix) == 8 and int(suffix, 16) >= 0


async def test_a_sandbox_that_cannot_be_started_leaves_nothing_however_often_tried(
    engine: Engine, directory: Path
) -> None:
    ports = [cri.PortMapping(container_port=80, host_port=18080)]
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        first = await runtime.run_pod_sandbox(pod_config("first", port_mappings=ports))
        for attempt in range(3):
            with pytest.raises(ServiceError, match="18080"):
                await runtime.run_pod_sandbox(
                    pod_config("second", attempt=attempt, port_mappings=ports)
                )
            assert [container["Id"] for container in engine.containers()] == [first]
            assert [item.id for item in await runtime.list_pod_sandbox()] == [first]
        assert sorted(path.name for path in (directory / "root" / "sandbox").iterdir()) == [first]
        await runtime.stop_pod_sandbox(first)
        await runtime.remove_pod_sandbox(first)


async def test_a_container_that_the_engine_cannot_start_says_why(
    engine: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod_config("broken"))
        container_id = await runtime.create_container(
            sandbox_id, container_config(command=("/no/such/program",)), pod_config("broken")
        )
        with pytest.raises(ServiceError, match="/no/such/program"):
            await runtime.start_container(container_id)
        status = (await runtime.container_status(container_id)).status
        assert (status.state, status.reason) == (cri.CONTAINER_EXITED, "ContainerCannotRun")
        assert "/no/such/program" in status.message and status.exit_code != 0
        assert status.created_at <= status.started_at <= status.finished_at
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
