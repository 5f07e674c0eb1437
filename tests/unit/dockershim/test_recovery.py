"""What recovery leaves alone: a sandbox that this very process is making."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from asupervisor.dockershim.recovery import recover
from asupervisor.node.build import sandbox_record
from asupervisor.node.store import NodeStore
from asupervisor.translate.checkpoint import Checkpoint
from tests.harness.fake_engine import container_document

ID = "a" * 64
KEY = "k8s_POD_web_default_u1_0"


class Ground:
    """The rooms around recovery, noting what it does."""

    def __init__(self, engine_name: str, under_way: str) -> None:
        checkpoint = Checkpoint(name="web", namespace="default", complete=False)
        self.done: list[str] = []
        self.store = NodeStore()
        self.store.put_sandbox(
            sandbox_record(container_document(ID, engine_name, sandbox=True), checkpoint, ())
        )
        self.checkpoints = SimpleNamespace(get=lambda sandbox_id: checkpoint, corrupt={})
        self.operations = SimpleNamespace(
            under_way=[(under_way, "RunPodSandbox", 0.1)], run=self._roll_back
        )
        self.network = SimpleNamespace(reconcile=self._reconcile)
        self.accounts = SimpleNamespace(clear=self._clear)

    async def _roll_back(self, key: str, action: str, work: Any) -> None:
        self.done.append(f"{action} {key}")

    async def _reconcile(self, living: list[Any]) -> None:
        self.done.append(f"living: {[pod.sandbox_id for pod in living]}")

    async def _clear(self) -> None:
        return


@pytest.mark.parametrize(
    "engine_name", [KEY, f"{KEY}_1234abcd"], ids=["its own name", "the name after a conflict"]
)
def test_a_sandbox_in_the_making_is_neither_rolled_back_nor_taken_for_dead(
    engine_name: str,
) -> None:
    ground: Any = Ground(engine_name, under_way=KEY)
    anyio.run(recover, ground)
    assert ground.done == [f"living: {[ID]}"]


@pytest.mark.parametrize(
    "other", ["k8s_POD_web_default_u1_1", "k8s_POD_web_default_u1_00", "k8s_POD_other_default_u1_0"]
)
def test_a_half_built_one_that_nobody_is_making_is_rolled_back(other: str) -> None:
    ground: Any = Ground(KEY, under_way=other)
    anyio.run(recover, ground)
    assert ground.done[0] == f"roll back {KEY}"
