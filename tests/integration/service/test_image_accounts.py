"""What is read of an image's files, and by what means."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.dockershim.image import files
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import container_config, pod_config
from tests.harness.service import service_config

_REFERENCE = "asupervisor.test/accounts:1"
_VOLUMES: dict[str, dict[str, str]] = {"/tmp": {}, "/var/data": {}, "/etc": {}}


def _leave_behind(engine: Engine) -> str:
    """What a process leaves that is killed while it reads an image; returns the container's id."""
    engine.load(busybox_archive(_REFERENCE, {"Volumes": _VOLUMES}, {"mark": b"accounts"}))
    image_id: str = engine.request("GET", f"/images/{_REFERENCE}/json")[1]["Id"]
    name = f"asupervisor-accounts-{image_id.removeprefix('sha256:')[:32]}"
    body = {
        "Image": image_id,
        "Cmd": ["none"],
        "Labels": {"io.asupervisor.temporary": "accounts"},
    }
    status, answer = engine.request("POST", f"/containers/create?name={name}", body)
    assert status == 201, answer
    return str(answer["Id"])


def _volumes(engine: Engine) -> list[object]:
    return engine.request("GET", "/volumes")[1]["Volumes"] or []


def _wanted() -> cri.ContainerConfig:
    wanted = container_config()
    wanted.image.image = _REFERENCE
    context = wanted.linux.security_context
    context.run_as_user.value = 65534
    context.supplemental_groups_policy = cri.Strict
    return wanted


@pytest.mark.parametrize("at_hand", [True, False], ids=["its layers", "the engine"])
async def test_an_images_files_are_read_from(
    engine: Engine, directory: Path, monkeypatch: pytest.MonkeyPatch, at_hand: bool
) -> None:
    if at_hand and engine.containerd_store:
        pytest.skip("with the containerd image store the engine does not name the layers")
    if not at_hand:
        monkeypatch.setattr(files, "layer_directories", lambda document: ())
    left_behind = _leave_behind(engine)
    events: list[str] = []
    async with Supervisor(service_config(engine, directory)) as supervisor:
        assert supervisor.shim is not None
        create = supervisor.shim.engine.containers.create

        async def noted(name: str, body: dict[str, object]) -> str:
            before = len(_volumes(engine))
            made = await create(name, body)
            if name.startswith("asupervisor-accounts-"):
                events.append(name)
                assert len(_volumes(engine)) == before
            return made

        monkeypatch.setattr(supervisor.shim.engine.containers, "create", noted)
        config = pod_config("accounts")
        sandbox_id = await supervisor.runtime.run_pod_sandbox(config)
        container_id = await supervisor.runtime.create_container(sandbox_id, _wanted(), config)
        assert engine.inspect(container_id)["Config"]["User"] == "65534:65534"
        user = (await supervisor.runtime.container_status(container_id)).status.user.linux
        assert (user.uid, user.gid) == (65534, 65534)
        # Neither what was left behind nor what was made now is still there.
        assert {container["Id"] for container in engine.containers()} == {sandbox_id, container_id}
        assert left_behind != container_id
        assert [item.id for item in await supervisor.runtime.list_containers()] == [container_id]
        await supervisor.runtime.stop_pod_sandbox(sandbox_id)
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)
        await supervisor.images.remove_image(_REFERENCE)
    assert bool(events) is not at_hand


async def test_a_leftover_does_not_keep_its_image(engine: Engine, directory: Path) -> None:
    _leave_behind(engine)
    async with Supervisor(service_config(engine, directory)) as supervisor:
        await supervisor.images.remove_image(_REFERENCE)
        assert not (await supervisor.images.image_status(_REFERENCE)).HasField("image")
        assert engine.containers() == []


async def test_what_only_looks_like_a_leftover_stays(engine: Engine, directory: Path) -> None:
    engine.load(busybox_archive(_REFERENCE, {"Labels": {"io.asupervisor.temporary": "accounts"}}))
    body = {"Image": _REFERENCE, "Cmd": ["sleep", "600"]}
    made = []
    for name in ("theirs", "asupervisor-accounts-theirs"):
        status, answer = engine.request("POST", f"/containers/create?name={name}", body)
        assert status == 201, answer
        made.append(answer["Id"])
    assert engine.request("POST", f"/containers/{made[1]}/start")[0] == 204
    try:
        async with Supervisor(service_config(engine, directory)) as supervisor:
            assert supervisor.shim is not None
            await supervisor.shim.image_files.clear()
            assert {container["Id"] for container in engine.containers()} == set(made)
    finally:
        for container in made:
            engine.request("DELETE", f"/containers/{container}?force=1&v=1")
        engine.request("DELETE", f"/images/{_REFERENCE}")


async def test_the_labels_of_this_service_are_not_told(engine: Engine, directory: Path) -> None:
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
