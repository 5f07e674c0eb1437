"""RemoveImage takes an image with all of its names or leaves it whole, on a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.supervisor import Supervisor
from asupervisor.translate.mounts import IMAGE_MOUNTS_SINCE
from tests.harness.engine import Engine, busybox_archive
from tests.harness.service import service_config

NAMES = ["asupervisor.test/removed:1", "asupervisor.test/removed:2"]


@asynccontextmanager
async def _image(engine: Engine, directory: Path) -> AsyncIterator[tuple[Supervisor, str]]:
    """A service, and an image with two names."""
    engine.load(busybox_archive(NAMES[0], extra={"mark": b"removed"}))
    assert engine.request("POST", _tag(NAMES[0], NAMES[1]))[0] == 201
    async with Supervisor(service_config(engine, directory)) as supervisor:
        yield supervisor, (await supervisor.images.image_status(NAMES[0])).image.id


def _tag(name: str, new: str) -> str:
    repository, _, tag = new.rpartition(":")
    return f"/images/{name}/tag?repo={repository}&tag={tag}"


async def _has_all_names(supervisor: Supervisor, engine: Engine, image_id: str) -> bool:
    shown = (await supervisor.images.image_status(image_id)).image
    tags = engine.request("GET", f"/images/{image_id}/json")[1]["RepoTags"]
    return sorted(shown.repo_tags) == sorted(tag for tag in tags if "@" not in tag) == NAMES


def _create(engine: Engine, body: dict[str, Any]) -> str:
    status, answer = engine.request("POST", "/containers/create", body)
    assert status == 201, answer
    return str(answer["Id"])


async def test_an_image_that_another_is_built_on(engine: Engine, directory: Path) -> None:
    async with _image(engine, directory) as (supervisor, image_id):
        container = _create(engine, {"Image": NAMES[0], "Cmd": ["true"]})
        status, answer = engine.request("POST", f"/commit?container={container}", {})
        assert status == 201, answer
        engine.request("DELETE", f"/containers/{container}?force=1")
        built_on = answer["Id"]
        assert supervisor.shim is not None
        if supervisor.shim.engine.containerd_store:
            await supervisor.images.remove_image(NAMES[0])
            assert not (await supervisor.images.image_status(image_id)).HasField("image")
        else:
            with pytest.raises(FailedPrecondition, match=built_on.removeprefix("sha256:")[:12]):
                await supervisor.images.remove_image(NAMES[0])
            assert await _has_all_names(supervisor, engine, image_id)
        await supervisor.images.remove_image(built_on)
        await supervisor.images.remove_image(image_id)
        assert engine.request("GET", f"/images/{image_id}/json")[0] == 404


async def test_an_image_that_a_container_of_somebody_else_has(
    engine: Engine, directory: Path
) -> None:
    async with _image(engine, directory) as (supervisor, image_id):
        container = _create(engine, {"Image": NAMES[1], "Cmd": ["true"]})
        with pytest.raises(FailedPrecondition, match=container[:12]):
            await supervisor.images.remove_image(NAMES[0])
        assert await _has_all_names(supervisor, engine, image_id)
        engine.request("DELETE", f"/containers/{container}?force=1")
        await supervisor.images.remove_image(NAMES[0])
        assert engine.request("GET", f"/images/{image_id}/json")[0] == 404


@pytest.mark.parametrize("named", [True, False])
async def test_an_image_that_is_mounted_as_a_volume(
    engine: Engine, directory: Path, named: bool
) -> None:
    async with _image(engine, directory) as (supervisor, image_id):
        assert supervisor.shim is not None
        if supervisor.shim.engine.api_version < IMAGE_MOUNTS_SINCE:
            await supervisor.images.remove_image(image_id)
            pytest.skip("this engine mounts no images")
        mount = {"Type": "image", "Source": image_id, "Target": "/volume"}
        container = _create(
            engine,
            {
                "Image": "asupervisor.test/busybox:1",
                "Cmd": ["true"],
                "HostConfig": {"Mounts": [mount]},
            },
        )
        if not named:
            other = busybox_archive(NAMES[0], extra={"mark": b"another"})
            engine.load(other)
            engine.request("POST", _tag(NAMES[0], NAMES[1]))
            await supervisor.shim.feed.images.read_all().wait()
            assert not (await supervisor.images.image_status(image_id)).image.repo_tags
        with pytest.raises(FailedPrecondition, match=container[:12]):
            await supervisor.images.remove_image(image_id)
        assert engine.request("GET", f"/images/{image_id}/json")[0] == 200
        assert not named or await _has_all_names(supervisor, engine, image_id)
        engine.request("DELETE", f"/containers/{container}?force=1")
        await supervisor.images.remove_image(image_id)
        await supervisor.images.remove_image(NAMES[0])
        assert engine.request("GET", f"/images/{image_id}/json")[0] == 404
