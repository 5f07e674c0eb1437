"""A container is sealed under the very name that it gets, and what holds that name makes way only
where it is a pod's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.dockershim.naming import create_named
from asupervisor.errors import AlreadyExists, NotFound, Unavailable
from asupervisor.node.build import sandbox_record
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.ownership import Ownership
from asupervisor.node.store import NodeStore
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.labels import container_labels
from asupervisor.translate.provenance import Seal
from tests.harness.fake_engine import container_document

NAME = "k8s_main_web_default_uid-web_0"
HOLDER = "a" * 64
BODY = {"Image": "i", "Labels": container_labels({"own": "1"}, {}, "f" * 64, "")}


class Shim:
    """An engine on which a name is taken, and what was asked of it."""

    def __init__(self, checkpoints: CheckpointStore, holder: dict[str, Any] | None) -> None:
        self.store = NodeStore()
        self.ownership = Ownership(Seal(b"k" * 32), self.store, checkpoints)
        self.holder, self.taken, self.name = holder, True, NAME
        self.made: list[tuple[str, dict[str, str]]] = []
        self.removed: list[str] = []
        self.engine = SimpleNamespace(containers=self)
        self.feed = SimpleNamespace(ownership=self.ownership, forget=lambda any_id: None)
        self.checkpoints = checkpoints

    async def create(self, name: str, body: dict[str, Any]) -> str:
        if self.taken and name == self.name:
            raise AlreadyExists("taken")
        self.made.append((name, body["Labels"]))
        return "b" * 64

    async def inspect(self, name: str) -> dict[str, Any]:
        if self.holder is None:
            raise NotFound("nobody")
        return self.holder

    async def remove(self, any_id: str, force: bool) -> None:
        self.removed.append(any_id)
        self.taken = False


@pytest.fixture
def checkpoints(tmp_path: Any) -> CheckpointStore:
    return CheckpointStore(tmp_path)


def sealed_under(shim: Shim) -> str:
    ((name, labels),) = shim.made
    origin = shim.ownership.seal.origin({"Name": f"/{name}", "Config": {"Labels": labels}})
    assert origin is not None and origin.sealed and origin.labels == {"own": "1"}
    return name


async def test_the_name_after_a_conflict_is_sealed(checkpoints: CheckpointStore) -> None:
    shim: Any = Shim(checkpoints, None)
    await create_named(shim, NAME, BODY)
    name = sealed_under(shim)
    assert name.startswith(f"{NAME}_") and "io.kubernetes.docker.seal" not in BODY["Labels"]


async def test_a_dead_holder_that_is_a_pods_makes_way(checkpoints: CheckpointStore) -> None:
    holder = container_document(HOLDER, NAME, state={"Running": False})
    shim: Any = Shim(checkpoints, holder)
    await create_named(shim, NAME, BODY)
    assert sealed_under(shim) == NAME and shim.removed == [HOLDER]


@pytest.mark.parametrize(
    "labels", [{"io.kubernetes.pod.uid": "another"}, {"io.kubernetes.docker.type": "podsandbox"}]
)
async def test_a_holder_that_is_somebody_elses_is_left_alone(
    checkpoints: CheckpointStore, labels: dict[str, str]
) -> None:
    holder = container_document(HOLDER, NAME, state={"Running": False}, labels=labels)
    shim: Any = Shim(checkpoints, holder)
    with pytest.raises(AlreadyExists, match=f"{HOLDER[:12]}, which is not a pod's"):
        await create_named(shim, NAME, BODY)
    assert shim.removed == shim.made == []


@pytest.mark.parametrize("released", [True, False])
async def test_a_dead_sandbox_makes_way_and_is_known_until_its_network_is_released(
    checkpoints: CheckpointStore, released: bool
) -> None:
    name = "k8s_POD_web_default_uid-web_0"
    holder = container_document(HOLDER, name, sandbox=True, state={"Running": False})
    shim: Any = Shim(checkpoints, holder)
    kept = Checkpoint(name="web", namespace="default")
    shim.store.put_sandbox(sandbox_record(holder, kept, ()))
    await checkpoints.write(HOLDER, kept)

    async def tear_down(pod: Any) -> None:
        if not released:
            raise Unavailable("the plugin hangs")

    shim.network = SimpleNamespace(tear_down=tear_down)
    shim.name = name
    await create_named(shim, name, BODY)
    assert shim.removed == [HOLDER]
    assert (checkpoints.get(HOLDER) is None) == released, "kubelet has it torn down by its id"
