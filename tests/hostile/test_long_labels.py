"""A node stays ready whatever its tenants write into their pods and images, as far as Kubernetes
and the engine take it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.node.fitting import Fitting
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import container_config, pod_config
from tests.harness.registry import BuiltImage, Registry
from tests.harness.service import service_config
from tests.hostile.conftest import MakeImage
from tests.hostile.tenants import run_pod

_PODS = 3
_MESSAGE_BYTES = 1 << 20
"""In place of the 16 MiB that kubelet takes, so that a few pods are enough."""


async def test_pods_full_of_labels_leave_the_node_its_lists(
    engine: Engine, directory: Path
) -> None:
    labels = {f"tenant/{'k' * 200}{number}": "v" * 63 for number in range(2000)}
    annotations = {"note": "<" * 200_000}
    shortened: list[int] = []
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime, shim = supervisor.runtime, supervisor.shim
        assert shim is not None
        shim.store.lists = Fitting(_MESSAGE_BYTES, shortened.append)
        neighbour = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        made = {neighbour.sandbox_id}
        for number in range(_PODS):
            config = pod_config(f"fat{number}")
            config.labels.update(labels)
            config.annotations.update(annotations)
            made.add(await runtime.run_pod_sandbox(config))
        listed = {item.id: item for item in await runtime.list_pod_sandbox()}
        assert set(listed) == made
        assert dict(listed[neighbour.sandbox_id].annotations) == {"note": "kept as given"}
        assert sum(item.ByteSize() for item in listed.values()) < _MESSAGE_BYTES
        stats = await runtime.list_pod_sandbox_stats()
        assert {one.attributes.id for one in stats} == made
        selected = await runtime.list_pod_sandbox(
            cri.PodSandboxFilter(label_selector={f"tenant/{'k' * 200}1999": "v" * 63})
        )
        assert len(selected) == _PODS
        for item in selected:
            status = (await runtime.pod_sandbox_status(item.id)).status
            assert labels.items() <= dict(status.labels).items()
            assert dict(status.annotations) == {**annotations}
            origin = shim.feed.ownership.origin(engine.inspect(item.id))
            assert origin is not None and origin.sealed
        assert (await neighbour.status()).state == cri.CONTAINER_RUNNING
        assert sum(shortened) > 0
        for sandbox_id in made:
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)


@pytest.mark.parametrize(
    "config",
    [
        {"User": "u" * 18_000_000},
        {"Labels": {"note": "<" * 5_000_000}},
        {"Env": ["PATH=/bin", "X=" + "x" * 2_000_000]},
        {"Cmd": ["x" * 2_000_000]},
    ],
    ids=["user", "label", "environment", "command"],
)
async def test_a_configuration_of_megabytes_is_listed_and_not_run(
    engine: Engine, directory: Path, make_image: MakeImage, config: dict[str, Any]
) -> None:
    """The engine would carry it in every list and event of the image's containers."""
    image = make_image(config)
    long = make_image({"Labels": {"note": "x" * 900_000}})
    async with Supervisor(service_config(engine, directory)) as supervisor:
        assert supervisor.shim is not None
        with anyio.fail_after(60):
            await supervisor.shim.store.images_known.wait()
        listed = {tag for one in await supervisor.images.list_images() for tag in one.repo_tags}
        assert {image, long, BUSYBOX_IMAGE} <= listed
        assert len(orjson.dumps(supervisor.shim.store.image(image).document)) < 1 << 20  # type: ignore[union-attr]
        pod = await run_pod(supervisor, "tenant", long)
        refused = container_config("refused")
        refused.image.image = image
        with pytest.raises(FailedPrecondition, match=r"configuration of image .* is not run"):
            await supervisor.runtime.create_container(pod.sandbox_id, refused, pod.config)
        assert (await pod.status()).state == cri.CONTAINER_RUNNING
        await pod.remove()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.mark.parametrize("size", [2_000_000, 40_000_000])
async def test_a_pulled_image_with_such_a_configuration_is_not_kept(
    engine: Engine, directory: Path, registry: Registry, size: int
) -> None:
    """A few of them would make the engine's list of images longer than anybody reads."""
    name = registry.push("hostile", ("1",), BuiltImage({"Labels": {"note": "x" * size}}))
    async with Supervisor(service_config(engine, directory)) as supervisor:
        with pytest.raises(ServiceError, match=r"is not run|with more than"):
            await supervisor.images.pull_image(name)
        assert engine.request("GET", f"/images/{name}/json")[0] == 404
        assert name not in {
            tag for one in await supervisor.images.list_images() for tag in one.repo_tags
        }
