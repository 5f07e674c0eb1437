"""The container that is made to read an image's users: gone at once, and no obstacle where a killed
process left it behind.
"""

from __future__ import annotations

from pathlib import Path

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import container_config, pod_config, run
from tests.harness.service import service_config

_REFERENCE = "asupervisor.test/accounts:1"


def _leave_behind(engine: Engine) -> str:
    """What a process leaves that is killed while it reads an image; returns the image's id."""
    engine.load(busybox_archive(_REFERENCE, extra={"mark": b"accounts"}))
    image_id: str = engine.request("GET", f"/images/{_REFERENCE}/json")[1]["Id"]
    name = f"asupervisor-accounts-{image_id.removeprefix('sha256:')[:32]}"
    status, answer = engine.request(
        "POST", f"/containers/create?name={name}", {"Image": image_id, "Cmd": ["none"]}
    )
    assert status == 201, answer
    return image_id


def test_a_leftover_is_taken_over_and_removed(engine: Engine, directory: Path) -> None:
    async def scenario() -> None:
        async with Supervisor(service_config(engine, directory)) as supervisor:
            config = pod_config("accounts")
            sandbox_id = await supervisor.runtime.run_pod_sandbox(config)
            wanted = container_config()
            wanted.image.image = _REFERENCE
            wanted.linux.security_context.run_as_user.value = 65534
            container_id = await supervisor.runtime.create_container(sandbox_id, wanted, config)
            user = (await supervisor.runtime.container_status(container_id)).status.user.linux
            assert (user.uid, user.gid) == (65534, 65534)
            assert {container["Id"] for container in engine.containers()} == {
                sandbox_id,
                container_id,
            }
            assert [item.id for item in await supervisor.runtime.list_containers()] == [
                container_id
            ]
            await supervisor.runtime.stop_pod_sandbox(sandbox_id)
            await supervisor.runtime.remove_pod_sandbox(sandbox_id)
            await supervisor.images.remove_image(_REFERENCE)

    _leave_behind(engine)
    run(scenario)


def test_a_leftover_does_not_keep_its_image(engine: Engine, directory: Path) -> None:
    async def scenario() -> None:
        async with Supervisor(service_config(engine, directory)) as supervisor:
            await supervisor.images.remove_image(_REFERENCE)
            assert not (await supervisor.images.image_status(_REFERENCE)).HasField("image")
            assert engine.containers() == []

    _leave_behind(engine)
    run(scenario)


def test_the_labels_of_this_service_are_not_told(engine: Engine, directory: Path) -> None:
    async def scenario() -> None:
        async with Supervisor(service_config(engine, directory)) as supervisor:
            config = pod_config("labels")
            sandbox_id = await supervisor.runtime.run_pod_sandbox(config)
            wanted = container_config(labels={"own": "1"})
            wanted.image.user_specified_image = "as/given"
            container_id = await supervisor.runtime.create_container(sandbox_id, wanted, config)
            status = (await supervisor.runtime.container_status(container_id)).status
            assert dict(status.labels) == {"own": "1"}
            assert status.image == cri.ImageSpec(
                image=wanted.image.image, user_specified_image="as/given"
            )
            await supervisor.runtime.stop_pod_sandbox(sandbox_id)
            await supervisor.runtime.remove_pod_sandbox(sandbox_id)

    run(scenario)
