"""An image whose configuration or files make no sense costs nobody else anything."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from asupervisor.dockershim.image import files
from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from asupervisor.translate.accounts import Answer, look_up
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import container_config
from tests.harness.service import service_config
from tests.hostile.conftest import MakeImage
from tests.hostile.tenants import run_pod

_CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {"User": "99999999999999999999"},
    {"User": "9223372036854775808"},
    {"User": "-1"},
    {"User": "\u0661\u0660\u0660\u0660"},
    {"User": "1000\0"},
    {"User": "x" * 100_000},
    {"Labels": None, "Env": None, "Cmd": None},
    {"Labels": {"": "", "a" * 10_000: "\u0000\u2028"}},
    {"StopSignal": "SIGNONSENSE", "Volumes": {"/": {}, "relative": {}, "/etc/../x": {}}},
    {"ExposedPorts": {"99999999/none": {}}, "WorkingDir": "\0", "Shell": []},
)


async def test_odd_configurations_hide_no_image(
    engine: Engine, directory: Path, make_image: MakeImage
) -> None:
    made = {make_image(config=config) for config in _CONFIGURATIONS}
    # An engine may refuse one of them as no image, and answers 200 all the same.
    references = {name for name in made if engine.request("GET", f"/images/{name}/json")[0] == 200}
    assert len(references) >= len(_CONFIGURATIONS) - 1
    async with Supervisor(service_config(engine, directory)) as supervisor:
        listed = {tag for image in await supervisor.images.list_images() for tag in image.repo_tags}
        assert references | {BUSYBOX_IMAGE} <= listed
        # What comes later is seen too: no reading was given up.
        later = make_image(config={"User": "later"})
        assert supervisor.shim is not None
        await supervisor.shim.feed.images.refresh(later)
        assert (await supervisor.images.image_status(later)).image.username == "later"
        for reference in references:
            image = (await supervisor.images.image_status(reference, verbose=True)).image
            assert image.repo_tags == [reference]
            assert image.size > 0
    async with Supervisor(service_config(engine, directory)) as supervisor:
        listed = {tag for image in await supervisor.images.list_images() for tag in image.repo_tags}
        assert references | {BUSYBOX_IMAGE, later} <= listed


_LONG = b"".join(
    b"user%d:x:%d:%d::/:\n" % (number, number, number) for number in range(2000, 160_000)
)
_MEMBERS = b"".join(b"group%d:x:%d:app,other\n" % (number, number) for number in range(9000, 9003))


async def test_long_account_files_are_read_beside_the_loop_and_not_kept(
    engine: Engine, directory: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image(
        extra={
            "etc/passwd": _LONG + b"app:x:1000:1001::/:\n",
            "etc/group": _LONG + _MEMBERS,
        }
    )
    too_long = make_image(extra={"etc/passwd": _LONG * 3})
    threads: list[int] = []

    def noted(*arguments: Any) -> Answer:
        threads.append(threading.get_ident())
        return look_up(*arguments)

    monkeypatch.setattr(files, "look_up", noted)
    context = cri.LinuxContainerSecurityContext(
        run_as_user=cri.Int64Value(value=1000), run_as_group=cri.Int64Value(value=7)
    )
    async with Supervisor(service_config(engine, directory)) as supervisor:
        linux = cri.LinuxContainerConfig(security_context=context)
        pod = await run_pod(supervisor, "long", image, linux=linux)
        user = (await pod.status()).user.linux
        assert (user.uid, user.gid) == (1000, 7)
        assert list(user.supplemental_groups) == [7, 9000, 9001, 9002]
        assert len(threads) == 1 and threads[0] != threading.get_ident()
        assert supervisor.shim is not None
        (kept,) = supervisor.shim.image_files._known.values()
        assert kept == Answer(1001, (9000, 9001, 9002))
        # Without such a wish the engine reads them, and nobody else.
        other = await run_pod(supervisor, "plain", image)
        assert len(threads) == 1
        await other.remove()
        neighbour = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        with pytest.raises(FailedPrecondition, match="/etc/passwd is longer than 8388608 bytes"):
            await run_pod(supervisor, "refused", too_long, linux=linux)
        assert (await neighbour.status()).state == cri.CONTAINER_RUNNING
        for sandbox in await supervisor.runtime.list_pod_sandbox():
            await supervisor.runtime.stop_pod_sandbox(sandbox.id)
            await supervisor.runtime.remove_pod_sandbox(sandbox.id)


async def test_an_image_of_very_many_volumes_is_listed_and_not_run(
    engine: Engine, directory: Path, make_image: MakeImage
) -> None:
    """The engine would make them all with every container, and with every further try."""
    some = make_image({"Volumes": {f"/v{number}": {} for number in range(256)}})
    many = make_image({"Volumes": {f"/v{number}": {} for number in range(5000)}})
    async with Supervisor(service_config(engine, directory)) as supervisor:
        assert (await supervisor.images.image_status(many)).image.size > 0
        pod = await run_pod(supervisor, "tenant", some)
        before = len(engine.request("GET", "/volumes")[1]["Volumes"])
        refused = container_config("refused")
        refused.image.image = many
        with pytest.raises(FailedPrecondition, match="declares 5000 volumes"):
            await supervisor.runtime.create_container(pod.sandbox_id, refused, pod.config)
        assert len(engine.request("GET", "/volumes")[1]["Volumes"]) == before
        await pod.remove()
    assert not engine.request("GET", "/volumes")[1]["Volumes"]
