"""Account files that are none: whatever an image has under /etc/passwd and /etc/group, it costs
nobody but its own container anything, and reading it is bounded.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.service import service_config
from tests.hostile.tenants import docker_commit, docker_rm, docker_run, run_pod

_MAZE = (  # not in circles, but far
    "mkdir /m; cd /m; i=0; while [ $i -lt 60 ]; do ln -s $((i+1))/x $i; i=$((i+1)); done;"
    " ln -sf /m/0 /etc/passwd"
)
_TOO_LONG = "is longer than 8388608 bytes"
_LINE = "app:x:1000:1001::/:"
_MEMBER = "team:x:50:app"

# What is made of the files, and what comes of asking for user 1000 with group 7: the groups, or
# words of the refusal.
_FILES = {
    "plain": (f"echo {_LINE} > /etc/passwd; echo {_MEMBER} > /etc/group", {7, 50}),
    "link": (
        f"mkdir -p /a/b; echo {_LINE} > /a/b/p; ln -sf ../a/b/p /etc/passwd;"
        f" echo {_MEMBER} > /etc/group",
        {7, 50},
    ),
    "link out of the image": (
        f"echo {_LINE} > /p; ln -sf ../../../../p /etc/passwd; echo {_MEMBER} > /etc/group",
        {7, 50},
    ),
    "directory": ("rm /etc/passwd; mkdir -p /etc/passwd/x", {7}),
    "full directory": (
        "rm /etc/passwd; mkdir /etc/passwd; dd if=/dev/zero of=/etc/passwd/z bs=1M count=12",
        {7},
    ),
    "missing": ("rm /etc/passwd /etc/group", {7}),
    "sparse": ("truncate -s 200M /etc/passwd", _TOO_LONG),
    "sparse groups": (f"echo {_LINE} > /etc/passwd; truncate -s 200M /etc/group", _TOO_LONG),
}


@contextmanager
def made_by(engine: Engine, script: str, tag: str) -> Iterator[str]:
    """An image of what a shell script leaves behind; its reference."""
    container = docker_run(engine, BUSYBOX_IMAGE, command=("sh", "-c", script))
    try:
        assert engine.request("POST", f"/containers/{container}/wait")[0] == 200
        image = docker_commit(engine, container, tag)
    finally:
        docker_rm(engine, container)
    try:
        yield image
    finally:
        engine.request("DELETE", f"/images/{image}?force=1")


def _wanted(name: str, image: str) -> cri.ContainerConfig:
    context = cri.LinuxContainerSecurityContext(
        run_as_user=cri.Int64Value(value=1000), run_as_group=cri.Int64Value(value=7)
    )
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name),
        image=cri.ImageSpec(image=image),
        linux=cri.LinuxContainerConfig(security_context=context),
    )


@pytest.mark.parametrize("at_hand", [True, False], ids=["layers", "engine"])
async def test_what_stands_for_an_account_file_is_read_within_bounds(
    engine: Engine, directory: Path, monkeypatch: pytest.MonkeyPatch, at_hand: bool
) -> None:
    if not at_hand:
        monkeypatch.setattr(
            "asupervisor.dockershim.image.files.layer_directories", lambda document: ()
        )
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "tenant")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number, (kind, (script, expected)) in enumerate(_FILES.items()):
            with made_by(engine, script, f"file{number}") as image:
                assert supervisor.shim is not None
                await supervisor.shim.feed.images.refresh(image)
                create = supervisor.runtime.create_container(
                    pod.sandbox_id, _wanted(f"c{number}", image), pod.config
                )
                if isinstance(expected, str):
                    with pytest.raises(FailedPrecondition, match=expected):
                        await create
                    continue
                container_id = await create
                container = engine.inspect(container_id)
                groups = {int(group) for group in container["HostConfig"]["GroupAdd"] or []}
                assert {7} | groups == expected, kind
                assert container["Config"]["User"] == "1000:7"
                await supervisor.runtime.remove_container(container_id)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 100 << 10, "KiB more than before"
        await pod.remove()


@pytest.mark.parametrize("at_hand", [True, False], ids=["layers", "engine"])
async def test_links_that_lead_nowhere_are_the_images_fault(
    engine: Engine, directory: Path, monkeypatch: pytest.MonkeyPatch, at_hand: bool
) -> None:
    if not at_hand:
        monkeypatch.setattr(
            "asupervisor.dockershim.image.files.layer_directories", lambda document: ()
        )
    scripts = ("ln -sf passwd /etc/passwd", _MAZE, "rm -r /etc; ln -s etc /etc")
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "tenant")
        for number, script in enumerate(scripts):
            with made_by(engine, script, f"maze{number}") as image:
                assert supervisor.shim is not None
                await supervisor.shim.feed.images.refresh(image)
                pod.container_id = ""
                with contextlib.suppress(FailedPrecondition):
                    await pod.create(_wanted(f"c{number}", image))
                    assert script != scripts[0], "the engine takes no such file"
                if pod.container_id:
                    await supervisor.runtime.remove_container(pod.container_id)
        await pod.remove()
