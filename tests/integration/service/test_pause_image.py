"""The image of sandboxes: as it is named, pulled if need be; the package's own where that cannot be
had, so that pods start anyhow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.dockershim.image.embedded_pause import EMBEDDED_PAUSE_REFERENCE
from asupervisor.errors import ConfigError
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import pod_config
from tests.harness.registry import BuiltImage, Registry, free_port
from tests.harness.service import service_config


@pytest.fixture(scope="module")
def pause_registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


async def test_the_named_image_is_pulled_used_and_pinned(
    pause_registry: Registry, engine: Engine, directory: Path
) -> None:
    command = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    image = BuiltImage({"Cmd": command}, by_manifest=engine.containerd_store)
    name = pause_registry.push("team/pause", ("3.10",), image)

    async with Supervisor(
        service_config(engine, directory, pod_infra_container_image=name)
    ) as supervisor:
        sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("named"))
        assert engine.inspect(sandbox_id)["Config"]["Image"] == name
        (found,) = [
            item for item in await supervisor.images.list_images() if name in item.repo_tags
        ]
        assert found.id == image.id and found.pinned
        await supervisor.runtime.stop_pod_sandbox(sandbox_id)
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)
        await supervisor.images.remove_image(name)


async def test_where_the_named_image_cannot_be_had_the_embedded_one_is_used(
    engine: Engine, directory: Path
) -> None:
    nobody = f"127.0.0.1:{free_port()}/team/pause:3.10"

    async with Supervisor(
        service_config(engine, directory, pod_infra_container_image=nobody)
    ) as supervisor:
        for name in ("first", "second"):
            sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config(name))
            assert engine.inspect(sandbox_id)["Config"]["Image"] == EMBEDDED_PAUSE_REFERENCE
            assert (
                await supervisor.runtime.pod_sandbox_status(sandbox_id)
            ).status.state == cri.SANDBOX_READY
            await supervisor.runtime.stop_pod_sandbox(sandbox_id)
            await supervisor.runtime.remove_pod_sandbox(sandbox_id)
        (found,) = [
            item
            for item in await supervisor.images.list_images()
            if EMBEDDED_PAUSE_REFERENCE in item.repo_tags
        ]
        assert found.pinned


async def test_a_name_that_is_none_is_refused_at_the_start(engine: Engine, directory: Path) -> None:
    with pytest.raises(ConfigError, match="--pod-infra-container-image"):
        await Supervisor(
            service_config(engine, directory, pod_infra_container_image="Not An Image")
        ).__aenter__()
