"""What recovery leaves alone: a sandbox that this very process is making, or has made by the time
that its turn comes, and what could not be read.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from asupervisor.dockershim.recovery import recover
from asupervisor.node.build import checkpoint_only_record, completed, sandbox_record
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
        self.store.containers_known.set()
        self.store.put_sandbox(
            sandbox_record(container_document(ID, engine_name, sandbox=True), checkpoint, ())
        )
        self.checkpoints = SimpleNamespace(get=lambda sandbox_id: checkpoint, corrupt={})
        self.operations = SimpleNamespace(
            under_way=[(under_way, "RunPodSandbox", 0.1)], run=self._roll_back
        )
        self.network = SimpleNamespace(reconcile=self._reconcile)
        self.image_files = SimpleNamespace(clear=self._clear)
        self.orphans = SimpleNamespace(note=self._clear, living=self._orphans)
        self.oci = SimpleNamespace(ids=frozenset())
        self.run_on: set[str] = set()

    async def _roll_back(self, key: str, action: str, work: Any) -> None:
        self.done.append(f"{action} {key}")

    async def _reconcile(self, living: list[Any], gone: Any) -> None:
        self.done.append(f"living: {[pod.sandbox_id for pod in living]}")

    async def _clear(self) -> None:
        return

    async def _orphans(self, ids: list[str]) -> frozenset[str]:
        return frozenset(self.run_on.intersection(ids))


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


class Slow(Ground):
    """What is asked for is done after something else was."""

    def __init__(self, engine_name: str) -> None:
        super().__init__(engine_name, under_way="")
        self.meanwhile: Any = lambda: None
        self.engine = SimpleNamespace(containers=SimpleNamespace(remove=self._remove))

    async def _roll_back(self, key: str, action: str, work: Any) -> None:
        self.meanwhile()
        await work()

    async def _remove(self, any_id: str, force: bool) -> None:
        self.done.append(f"removed {any_id}")


async def test_what_was_completed_while_the_roll_back_waited_is_not_rolled_back() -> None:
    ground: Any = Slow(KEY)
    record = ground.store.sandbox(ID)
    ground.meanwhile = lambda: ground.store.put_sandbox(completed(record, ("10.0.0.2",)))
    await recover(ground)
    assert ground.done == [f"living: {[]}"], "it has no process in this test, and is not removed"


async def test_what_could_not_be_read_is_not_touched() -> None:
    ground: Any = Slow(KEY)
    unread = ground.store.sandbox(ID)
    ground.store.remove(ID)
    ground.store.put_unread(unread)
    gone: list[bool] = []

    async def reconcile(living: list[Any], is_gone: Any) -> None:
        gone.append(is_gone(ID))
        ground.done.append(f"living: {[pod.sandbox_id for pod in living]}")

    ground.network.reconcile = reconcile
    await recover(ground)
    assert ground.done == [f"living: {[ID]}"]
    assert gone == [False]


async def test_nothing_is_gone_before_the_containers_are_known() -> None:
    ground: Any = Slow(KEY)
    ground.store = NodeStore()
    gone: list[bool] = []

    async def reconcile(living: list[Any], is_gone: Any) -> None:
        gone.append(is_gone(ID))
        ground.store.containers_known.set()
        gone.append(is_gone(ID))

    ground.network.reconcile = reconcile
    await recover(ground)
    assert gone == [False, True]


@pytest.mark.parametrize("runs", [True, False])
async def test_the_network_of_one_that_runs_behind_the_engines_back_is_not_taken(
    runs: bool,
) -> None:
    ground: Any = Slow(KEY)
    ground.store.put_sandbox(checkpoint_only_record(ID, ground.checkpoints.get(ID)))
    ground.run_on = {ID} if runs else set()
    gone: list[bool] = []

    async def reconcile(living: list[Any], is_gone: Any) -> None:
        gone.append(is_gone(ID))
        ground.done.append(f"living: {[pod.sandbox_id for pod in living]}")

    ground.network.reconcile = reconcile
    await recover(ground)
    assert gone == [not runs]
    assert ground.done == [f"living: {[ID] if runs else []}"]


@pytest.mark.parametrize("runs", [True, False])
async def test_neither_is_it_of_one_whose_checkpoint_cannot_be_read(runs: bool) -> None:
    ground: Any = Slow(KEY)
    ground.store = NodeStore()
    ground.store.containers_known.set()
    ground.checkpoints = SimpleNamespace(get=lambda sandbox_id: None, corrupt={ID: "cut"})
    ground.run_on = {ID} if runs else set()
    gone: list[bool] = []

    async def remove_corrupt(sandbox_id: str) -> bool:
        del ground.checkpoints.corrupt[sandbox_id]
        return True

    async def reconcile(living: list[Any], is_gone: Any) -> None:
        gone.append(is_gone(ID))

    ground.checkpoints.remove_corrupt = remove_corrupt
    ground.network.reconcile = reconcile
    await recover(ground)
    assert gone == [not runs]
    assert (ID in ground.checkpoints.corrupt) == runs, "it is what tells of it after a restart"
