"""A stop or a removal of what the engine does not have, and runs, is not answered OK, and takes
nothing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.dockershim.container.remove import remove_container
from asupervisor.dockershim.container.stop import stop_container
from asupervisor.dockershim.sandbox.remove import remove_pod_sandbox
from asupervisor.dockershim.sandbox.stop import stop_pod_sandbox
from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from tests.harness.fake_engine import FakeEngine, container_document
from tests.harness.ground import CONTAINER, SANDBOX, Ground
from tests.harness.processes import add_process

Verb = Callable[[Ground], Coroutine[Any, Any, object]]


@pytest.fixture
def ground(tmp_path: Path) -> Any:
    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        ground.proc = tmp_path / "proc"
        add_process(ground.proc, 4711, f"/kubepods/pod1/{SANDBOX}")
        add_process(ground.proc, 4712, f"/kubepods/pod1/{CONTAINER}")
        yield ground


def stop_sandbox(ground: Ground) -> Coroutine[Any, Any, object]:
    return stop_pod_sandbox(ground.shim, cri.StopPodSandboxRequest(pod_sandbox_id=SANDBOX))


def remove_sandbox(ground: Ground) -> Coroutine[Any, Any, object]:
    return remove_pod_sandbox(ground.shim, cri.RemovePodSandboxRequest(pod_sandbox_id=SANDBOX))


def stop(ground: Ground) -> Coroutine[Any, Any, object]:
    return stop_container(ground.shim, cri.StopContainerRequest(container_id=CONTAINER))


def remove(ground: Ground) -> Coroutine[Any, Any, object]:
    return remove_container(ground.shim, cri.RemoveContainerRequest(container_id=CONTAINER))


VERBS = pytest.mark.parametrize(
    ("verb", "pid"),
    [(stop_sandbox, 4711), (remove_sandbox, 4711), (stop, 4712), (remove, 4712)],
    ids=["StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer"],
)


async def vanish(ground: Ground) -> None:
    """The engine comes back without them."""
    ground.fake.containers.clear()
    await ground.shim.feed.resync()
    with anyio.fail_after(10):
        while ground.shim.store.containers:  # noqa: ASYNC110 - a reading in the background
            await anyio.sleep(0.005)
    record = ground.shim.store.sandboxes[SANDBOX]
    assert not record.known_to_engine


@VERBS
async def test_what_runs_behind_the_engines_back_is_not_answered_for(
    ground: Ground, verb: Verb, pid: int
) -> None:
    async with ground.up():
        await vanish(ground)
        for _ in range(2):
            with pytest.raises(FailedPrecondition, match=f"process {pid} runs"):
                await verb(ground)
        assert ground.network.torn_down == []
        assert SANDBOX in ground.shim.checkpoints.all


@VERBS
async def test_it_is_once_it_has_ended(ground: Ground, verb: Verb, pid: int) -> None:
    async with ground.up():
        await vanish(ground)
        (ground.proc / str(pid) / "cgroup").unlink()
        await verb(ground)
        removed = verb is remove_sandbox
        assert (SANDBOX not in ground.shim.checkpoints.all) == removed


async def test_one_that_was_stopped_before_and_runs_is_not_answered_for(ground: Ground) -> None:
    async with ground.up():
        await stop_sandbox(ground)
        await vanish(ground)
        assert ground.shim.checkpoints.get(SANDBOX).extra, "its network is released"
        with pytest.raises(FailedPrecondition, match="process 4711 runs"):
            await stop_sandbox(ground)


async def test_without_a_checkpoint_it_is_not_answered_for_either(ground: Ground) -> None:
    async with ground.up():
        await ground.shim.checkpoints.remove(SANDBOX)
        ground.fake.containers.clear()
        await ground.shim.feed.resync()
        for verb in (stop_sandbox, remove_sandbox):
            with pytest.raises(FailedPrecondition, match="process 4711 runs"):
                await verb(ground)


async def test_one_that_vanished_before_anybody_noticed(ground: Ground) -> None:
    """The engine's answer to the stop is the first that tells."""
    async with ground.up():
        await ground.shim.engine.containers.start(CONTAINER)
        await ground.shim.feed.refresh(CONTAINER)
        ground.fake.containers.clear()
        with pytest.raises(FailedPrecondition, match="process 4712 runs"):
            await stop(ground)


async def test_one_that_is_not_a_pods_is_no_business_of_ours(ground: Ground) -> None:
    stranger = "d" * 64
    add_process(ground.proc, 4713, f"/docker/{stranger}")
    ground.fake.containers[stranger] = container_document(stranger, "stranger", labels={})
    async with ground.up():
        await stop_container(ground.shim, cri.StopContainerRequest(container_id=stranger))
        await remove_container(ground.shim, cri.RemoveContainerRequest(container_id=stranger))
    assert f"DELETE /containers/{stranger}" not in ground.fake.requests
