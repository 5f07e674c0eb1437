"""CheckpointContainer on an engine that has the feature switched on, with CRIU where the machine
has it.
"""

from __future__ import annotations

import json
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import DeadlineExceeded, FailedPrecondition
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import service_config

SCRIPT = (
    "sh",
    "-c",
    (
        "echo new > /made; rm /etc/group; rm -r /www; mkdir /www; touch /ready; while :; do sleep"
        " 0.1; done"
    ),
)
needs_criu = pytest.mark.skipif(shutil.which("criu") is None, reason="CRIU is not installed")


@pytest.fixture(scope="module")
def experimental() -> Iterator[Engine]:
    engine = Engine(arguments=("--experimental",))
    engine.start()
    engine.load(busybox_archive())
    yield engine
    engine.destroy()


async def container(supervisor: Supervisor) -> str:
    sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("frozen"))
    config = container_config(command=SCRIPT, linux=cri.LinuxContainerConfig())
    # CRIU writes whole process trees: not one whose first process is another container's.
    config.linux.security_context.namespace_options.pid = cri.CONTAINER
    container_id = await supervisor.runtime.create_container(
        sandbox_id, config, pod_config("frozen")
    )
    await supervisor.runtime.start_container(container_id)

    async def ready() -> bool:
        return (
            await supervisor.runtime.exec_sync(container_id, ("test", "-e", "/ready"), 20)
        ).exit_code == 0

    await until(ready, "the container has changed its files")
    return container_id


async def runs(supervisor: Supervisor, container_id: str) -> bool:
    status = (await supervisor.runtime.container_status(container_id)).status
    alive = await supervisor.runtime.exec_sync(container_id, ("true",), 20)
    return status.state == cri.CONTAINER_RUNNING and alive.exit_code == 0


def left(directory: Path) -> list[str]:
    places = (directory / "root" / "checkpoint", directory / "archives")
    return [str(path) for place in places if place.exists() for path in place.iterdir()]


async def clear(supervisor: Supervisor) -> None:
    for sandbox in await supervisor.runtime.list_pod_sandbox():
        await supervisor.runtime.remove_pod_sandbox(sandbox.id)


@needs_criu
async def test_a_checkpoint_is_an_archive_of_a_container_that_runs_on(
    experimental: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(experimental, directory)) as supervisor:
        container_id = await container(supervisor)
        (directory / "archives").mkdir()
        location = directory / "archives" / "one.tar"
        location.write_text("of before")
        await supervisor.runtime.checkpoint_container(container_id, str(location))
        assert await runs(supervisor, container_id)
        assert left(directory) == [str(location)]
        assert stat.S_IMODE(location.stat().st_mode) == 0o600
        with tarfile.open(location) as archive:
            names = archive.getnames()
            assert {
                "config.dump",
                "spec.dump",
                "rootfs-diff.tar",
                "checkpoint/inventory.img",
                "checkpoint/pstree.img",
            } <= set(names)
            config, spec = (
                json.loads(archive.extractfile(name).read())  # type: ignore[union-attr]
                for name in ("config.dump", "spec.dump")
            )
            assert (config["id"], config["name"]) == (container_id, "main")
            assert spec["process"]["args"] == list(SCRIPT)
            with tarfile.open(fileobj=archive.extractfile("rootfs-diff.tar")) as layer:
                changed = layer.getnames()
                assert {"made", "etc/.wh.group", "ready"} <= set(changed)
                assert "www/.wh..wh..opq" in changed
                assert layer.extractfile("made").read() == b"new\n"  # type: ignore[union-attr]
        await supervisor.runtime.checkpoint_container(container_id, str(location))
        assert await runs(supervisor, container_id)
        await clear(supervisor)


@needs_criu
async def test_what_fails_or_comes_too_late_leaves_nothing(
    experimental: Engine, directory: Path
) -> None:
    answered, fails = anyio.Event(), True

    async def step(name: str) -> None:
        if name != "CheckpointContainer.written":
            return
        if fails:
            raise FailedPrecondition("failpoint")
        await answered.wait()

    async with Supervisor(service_config(experimental, directory), on_step=step) as supervisor:
        container_id = await container(supervisor)
        (directory / "archives").mkdir()
        location = str(directory / "archives" / "never.tar")
        with pytest.raises(FailedPrecondition, match="failpoint"):
            await supervisor.runtime.checkpoint_container(container_id, location)
        assert left(directory) == []
        fails = False
        with pytest.raises(DeadlineExceeded, match="within 1 s"):
            await supervisor.runtime.checkpoint_container(
                container_id, location, checkpoint_timeout_s=1
            )
        assert len(left(directory)) == 1, "the engine has written"
        answered.set()
        await until(lambda: left(directory) == [], "what came too late is removed")
        assert await runs(supervisor, container_id)
        await clear(supervisor)


@pytest.mark.skipif(shutil.which("criu") is not None, reason="CRIU is installed")
async def test_without_criu_the_reason_is_told_and_nothing_is_left(
    experimental: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(experimental, directory)) as supervisor:
        container_id = await container(supervisor)
        (directory / "archives").mkdir()
        with pytest.raises(FailedPrecondition, match=rf"{container_id[:12]}.*criu"):
            await supervisor.runtime.checkpoint_container(
                container_id, str(directory / "archives" / "one.tar")
            )
        assert left(directory) == []
        assert await runs(supervisor, container_id)
        await clear(supervisor)


async def test_a_location_that_cannot_be_is_refused_before_anything_is_made(
    experimental: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(experimental, directory)) as supervisor:
        container_id = await container(supervisor)
        for location, word in (
            (f"{directory}/no/such/place.tar", "does not exist"),
            (str(directory), "is a directory"),
        ):
            with pytest.raises(FailedPrecondition, match=word):
                await supervisor.runtime.checkpoint_container(container_id, location)
        assert left(directory) == []
        await clear(supervisor)


async def test_what_an_earlier_process_did_not_finish_is_cleared(
    experimental: Engine, directory: Path
) -> None:
    workplace = directory / "root" / "checkpoint" / "of-before"
    (workplace / "images").mkdir(parents=True)
    (workplace / "images" / "pages-1.img").write_bytes(b"x")
    part = directory / "archives" / ".one.tar.part"
    part.parent.mkdir()
    part.write_bytes(b"half")
    (workplace / "part").write_text(str(part))
    async with Supervisor(service_config(experimental, directory)):
        assert left(directory) == []
