"""What was not read once is not claimed: every RPC that would is refused, whatever it is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from asupervisor.conditions import Reason
from asupervisor.dockershim.rpc.boundary import Boundary
from asupervisor.dockershim.rpc.methods import all_methods
from asupervisor.engine.health import EngineHealth
from asupervisor.metrics import Metrics
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ImageFilesystem

ANSWERED = {
    "Status",
    "Version",
    "RuntimeConfig",
    "UpdateRuntimeConfig",
    "ListMetricDescriptors",
    "GetContainerEvents",
}
OF_IMAGES = {"ListImages", "StreamImages", "ImageStatus", "PullImage", "RemoveImage"}
REFUSED = [method for method in all_methods() if method.name not in ANSWERED]


class Refusal(Exception):
    """What the caller is told."""


class Context:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    async def write(self, answer: bytes) -> None:
        self.written.append(answer)

    async def abort(self, code: grpc.StatusCode, words: str) -> None:
        raise Refusal(code.name, words)


def shim(store: NodeStore) -> Any:
    health = EngineHealth()
    health.set_unreachable(Reason.ENGINE_NOT_RUNNING, "nobody listens at the engine's socket")
    stats = Stats()
    stats.set_image_filesystem(ImageFilesystem(1, "/var/lib/docker", 2, 3))
    return SimpleNamespace(
        store=store,
        engine=SimpleNamespace(health=health, version={}, info={}),
        containers={},
        stats=stats,
    )


async def ask(store: NodeStore, service: str, name: str, request: bytes = b"") -> Any:
    served = Boundary(shim(store), Metrics())
    found = served.service(SimpleNamespace(method=f"/runtime.v1.{service}/{name}"))
    assert found is not None
    if found.response_streaming:
        context = Context()
        await found.unary_stream(request, context)
        return context.written
    return await found.unary_unary(request, Context())


@pytest.mark.parametrize("method", REFUSED, ids=lambda method: method.name)
async def test_it_is_refused_with_the_reason_before_the_first_reading(method: Any) -> None:
    with pytest.raises(Refusal) as refused:
        await ask(NodeStore(), method.service, method.name)
    code, words = refused.value.args
    assert code == "UNAVAILABLE"
    assert "have not been read" in words and "nobody listens at the engine's socket" in words


@pytest.mark.parametrize("name", ["ListContainers", "ListPodSandbox", "ListImages"])
async def test_lists_are_answered_from_memory_once_they_were_read(name: str) -> None:
    store = NodeStore()
    known = store.images_known if name in OF_IMAGES else store.containers_known
    known.set()
    service = "ImageService" if name in OF_IMAGES else "RuntimeService"
    assert await ask(store, service, name) == b"", "the engine is away, memory is the truth"


@pytest.mark.parametrize("method", REFUSED, ids=lambda method: method.name)
async def test_one_kind_that_is_known_does_not_stand_for_the_other(method: Any) -> None:
    store = NodeStore()
    (store.containers_known if method.name in OF_IMAGES else store.images_known).set()
    with pytest.raises(Refusal) as refused:
        await ask(store, method.service, method.name)
    assert refused.value.args[0] == "UNAVAILABLE"


async def test_the_image_file_system_is_told_before_the_images_were_listed() -> None:
    """kubelet asks for it as it starts, and ends where it is refused; images can take seconds."""
    store = NodeStore()
    store.containers_known.set()
    answer = cri.ImageFsInfoResponse.FromString(await ask(store, "ImageService", "ImageFsInfo"))
    assert answer.image_filesystems[0].fs_id.mountpoint == "/var/lib/docker"
