"""Whatever an image's USER, /etc/passwd and /etc/group hold, a container runs as whom the engine
itself would run it, and never as root because of a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import ServiceError
from asupervisor.host.identity import ProcessIdentity, process_identity
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import SLEEPER, container_config
from tests.harness.service import service_config
from tests.hostile.conftest import MakeImage
from tests.hostile.tenants import TenantPod, docker_rm, run_pod

_PASSWD = """root:x:0:0:root:/root:/bin/sh
app:x:1000:1001::/:
app:x:7:7::/:
1234:x:0:0::/:
+5:x:0:0::/:
\u0663:x:25:26::/:
cr:x:20:21::/:\r
  lead:x:22:23::/:
empty::30:
nouid:x::40
garbage:x:abc:41
big:x:4294967296:0::/:
huge:x:99999999999999999999:0::/:
4294967296:x:4294967296:0::/:
+:x:50:50::/:
# comment:x:60:60
nul\0:x:70:70
\ufeffbom:x:27:28::/:
\ttab:x:29:31::/:
007:x:0:0::/:
0x10:x:0:0::/:
1_0:x:0:0::/:
\uff12:x:0:0::/:
--5:x:0:0::/:
neg:x:-1:-1::/:
plus:x:+33:+34::/:
spaced:x: 35 : 36 ::/:
short
:x:90:90
last:x:80:81""".encode()
_GROUP = """root:x:0:
wheel:x:10:root,app
staff:x:50:app,other
1234:x:0:other
1000:x:0:other
cr:x:51:app\r
odd:x:52: app,apple,xapp
empty:x:53:
nogid:x::nouid
007:x:0:
0x10:x:0:
\uff12:x:0:
\ufeffmark:x:57:app
\ttabbed:x:58:app\t
neg:x:-1:other
dup:x:59:app,app,,app
+:x:55:app
staff:x:56:app
last:x:57:last""".encode()
_OF_IMAGES = (
    *("", "0", "app", "1000", "01000", "+1000", "-0", "1234", "1234:1234", "app:staff", "app:1234"),
    *("1000:1000", "1000:staff", "app:", ":5", ":staff", "\u0663", "\u0661\u0662", "cr", "lead"),
    *("empty", "nouid", "garbage", "big", "huge", "4294967296", "-1", "99999999999999999999"),
    *("2147483647", "2147483648", "nobody", "app:nogroup", "# comment", "+", "+5", "+:+", "last"),
    *("1000:-1", "1000:4294967296", "app:staff:more", "short", " app", "app ", "last:last"),
    *("bom", "\ufeffbom", "tab", "007", "+007", "0x10", "1_0", "\uff12", "--5", "neg", "plus"),
    *("spaced", "7:007", "7:0x10", "7:\uff12", "7: 50", "7:50 ", "7:neg", "7:+50", "::", "app::"),
    *("0:", "+0", "-0:-0", "00000000000000000000", "2147483647:2147483647", "1\n", "app\n:staff"),
)
_OF_REQUESTS = ("app", "1000", "1234", "0", "4321", "cr", "lead", "nobody", "last", "+5", "garbage")


def _commit(engine: Engine, container: str, user: str, tag: str) -> str:
    """An image like that of a container, with another USER; returns its reference."""
    repository = "asupervisor.test/users"
    status, answer = engine.request(
        "POST", f"/commit?container={container}&repo={repository}&tag={tag}", {"User": user}
    )
    assert status == 201, answer
    return f"{repository}:{tag}"


def _docker_run(engine: Engine, image: str, user: str = "") -> ProcessIdentity | None:
    """As whom ``docker run --user`` runs an image; None where it does not."""
    body = {
        "Image": image,
        "Cmd": list(SLEEPER),
        "HostConfig": {"NetworkMode": "none"},
        "User": user,
    }
    status, answer = engine.request("POST", "/containers/create", body)
    if status != 201:
        return None
    try:
        if engine.request("POST", f"/containers/{answer['Id']}/start")[0] != 204:
            return None
        pid = engine.inspect(answer["Id"])["State"]["Pid"]
        found = process_identity(pid, answer["Id"])
        assert found is not None
        return found
    finally:
        docker_rm(engine, answer["Id"])


async def _under_the_service(
    pod: TenantPod, image: str, name: str, context: cri.LinuxContainerSecurityContext
) -> ProcessIdentity | None:
    """As whom the service runs it; None where it does not. What the status tells must be what the
    process is.
    """
    wanted = container_config(name=name)
    wanted.image.image = image
    wanted.linux.security_context.CopyFrom(context)
    runtime = pod.supervisor.runtime
    try:
        container_id = await pod.create(wanted)
    except ServiceError:
        return None
    verbose = await runtime.container_status(container_id, verbose=True)
    shim = pod.supervisor.shim
    assert shim is not None
    found = process_identity(shim.store.container(container_id).pid, container_id)
    assert found is not None
    told = verbose.status.user.linux
    assert (told.uid, told.gid) == (found.uid, found.gid)
    assert set(told.supplemental_groups) == {found.gid, *found.groups}
    await runtime.stop_container(container_id, 0)
    await runtime.remove_container(container_id)
    return found


def _same(found: ProcessIdentity | None) -> tuple[int, int, set[int]] | None:
    # The primary group among the supplementary ones or not is one and the same to the kernel.
    return (found.uid, found.gid, {found.gid, *found.groups}) if found is not None else None


async def test_the_engine_itself_would_run_them_so(
    engine: Engine, directory: Path, make_image: MakeImage
) -> None:
    rich = make_image(extra={"etc/passwd": _PASSWD, "etc/group": _GROUP})
    base = engine.request("POST", "/containers/create", {"Image": rich})[1]["Id"]
    images = [
        (user, _commit(engine, base, user, f"u{number}")) for number, user in enumerate(_OF_IMAGES)
    ]
    docker_rm(engine, base)
    differing: list[Any] = []
    try:
        async with Supervisor(service_config(engine, directory)) as supervisor:
            await supervisor.images.list_images()
            pod = await run_pod(supervisor, "users")
            context = cri.LinuxContainerSecurityContext
            for number, (user, image) in enumerate(images):
                wanted = _same(_docker_run(engine, image))
                found = await _under_the_service(pod, image, f"i{number}", context())
                differing += [] if _same(found) == wanted else [("USER", user, found, wanted)]
                status = (await supervisor.images.image_status(image)).image
                # kubelet believes a uid: the process must be exactly that one then.
                if status.HasField("uid") and wanted is not None:
                    assert wanted[0] == status.uid.value, user
            for number, user in enumerate(_OF_REQUESTS):
                asked = (
                    context(run_as_user=cri.Int64Value(value=int(user)))
                    if user.isdigit()
                    else context(run_as_username=user)
                )
                wanted = _same(_docker_run(engine, rich, user))
                found = await _under_the_service(pod, rich, f"r{number}", asked)
                differing += [] if _same(found) == wanted else [("asked", user, found, wanted)]
            await pod.remove()
    finally:
        for _, image in images:
            engine.request("DELETE", f"/images/{image}?force=1")
    assert differing == []


@dataclass(frozen=True)
class _More:
    """What the CRI asks for and the engine cannot be asked for, with what is to come of it."""

    expected: tuple[int, int, set[int]] | None
    user: int | str | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()
    strict: bool = False
    image_user: str = ""
    context: cri.LinuxContainerSecurityContext = field(init=False)

    def __post_init__(self) -> None:
        context = cri.LinuxContainerSecurityContext(
            supplemental_groups=self.groups,
            supplemental_groups_policy=cri.Strict if self.strict else cri.Merge,
        )
        if isinstance(self.user, int):
            context.run_as_user.value = self.user
        elif self.user is not None:
            context.run_as_username = self.user
        if self.group is not None:
            context.run_as_group.value = self.group
        object.__setattr__(self, "context", context)


_OF_APP = {10, 50, 51, 55, 56, 57, 58, 59}
_MORE = (
    _More((1000, 7, {7} | _OF_APP), 1000, 7),
    _More((1000, 7, {7} | _OF_APP), "app", 7),
    _More((1000, 7, {7}), 1000, 7, strict=True),
    _More((1000, 1001, {1001}), 1000, strict=True),
    _More((1000, 1001, {1001, 9}), "app", groups=(9,), strict=True),
    _More((4321, 0, {0}), 4321, strict=True),
    _More((0, 0, {0}), strict=True),
    _More((1000, 1001, {1001}), strict=True, image_user="app"),
    _More((1000, 50, {50}), strict=True, image_user="app:staff"),
    _More((1000, 1001, {1001, 60, 10} | _OF_APP), 1000, groups=(60, 10)),
    # The image's groups of these names are root's: the engine, or runc behind it, would add that.
    _More(None, 1000, groups=(1234, 60)),
    _More(None, 1000, groups=(1000,), strict=True),
    _More(None, groups=(1000,)),
    _More((1234, 0, {0}), 1234, strict=True),
    _More(None, 1234, 1234),
    _More(None, 1234, 1234, strict=True),
)


@pytest.mark.parametrize("at_hand", [True, False], ids=["layers", "engine"])
async def test_what_the_cri_asks_for_beyond_the_engine(
    engine: Engine,
    directory: Path,
    make_image: MakeImage,
    monkeypatch: pytest.MonkeyPatch,
    at_hand: bool,
) -> None:
    if not at_hand:
        monkeypatch.setattr(
            "asupervisor.dockershim.image.files.layer_directories", lambda document: ()
        )
    files = {"etc/passwd": _PASSWD, "etc/group": _GROUP}
    images = {
        user: make_image(config={"User": user}, extra=files)
        for user in {case.image_user for case in _MORE}
    }
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "more")
        for number, case in enumerate(_MORE):
            image = images[case.image_user]
            found = await _under_the_service(pod, image, f"c{number}", case.context)
            assert _same(found) == case.expected, case
        await pod.remove()
