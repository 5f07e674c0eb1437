"""What the end of a sandbox must not miss: a release that is cut short, a start or a creation that
nobody saw end.
"""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest

from asupervisor.dockershim.sandbox.remove import remove_pod_sandbox
from asupervisor.dockershim.sandbox.stop import stop_pod_sandbox
from asupervisor.errors import FailedPrecondition, Internal
from asupervisor.network.plugin import PodNetwork
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.networks import RELEASED, RELEASING
from asupervisor.proto import cri
from tests.harness.fake_engine import Answer, FakeEngine
from tests.harness.ground import CONTAINER, SANDBOX, Ground
from tests.harness.pods import until

REQUEST = cri.StopPodSandboxRequest(pod_sandbox_id=SANDBOX)


async def test_that_it_began_is_on_the_disk_before_the_plugin_is_called(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []

    async def tear_down(pod: PodNetwork) -> None:
        disk = CheckpointStore(tmp_path / "root")
        await disk.load()
        seen.append(disk.all[SANDBOX].extra)

    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        ground.network.tear_down = tear_down  # type: ignore[method-assign]
        async with ground.up():
            await stop_pod_sandbox(ground.shim, REQUEST)
            await stop_pod_sandbox(ground.shim, REQUEST)
            (kept,) = ground.shim.checkpoints.all.values()
    assert [RELEASING in extra and RELEASED not in extra for extra in seen] == [True]
    assert kept.extra[RELEASED]


async def test_a_disk_that_refuses_it_does_not_hold_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FailedPrecondition("No space left on device")

    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        async with ground.up():
            monkeypatch.setattr(CheckpointStore, "_write", full)
            await stop_pod_sandbox(ground.shim, REQUEST)
            assert len(ground.network.torn_down) == 1
            assert not ground.runs(SANDBOX)


async def test_a_start_that_comes_through_while_the_sandbox_ends_is_ended_too(
    tmp_path: Path,
) -> None:
    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        async with ground.up() as callers:
            request = f"POST /containers/{SANDBOX}/stop"
            go = ground.hold(request)
            callers.start_soon(stop_pod_sandbox, ground.shim, REQUEST)
            await ground.until_asked(request)
            ground._start(CONTAINER)
            with anyio.fail_after(10):
                while not ground.shim.store.containers[CONTAINER].running:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
            go.set()
        assert not ground.runs(SANDBOX) and not ground.runs(CONTAINER)


async def test_a_container_whose_creation_nobody_saw_end_is_removed_with_its_sandbox(
    tmp_path: Path,
) -> None:
    unseen = "d" * 64
    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        async with ground.up():
            ground.add(unseen, "k8s_late_web_default_u1_0")
            request = cri.RemovePodSandboxRequest(pod_sandbox_id=SANDBOX)
            await remove_pod_sandbox(ground.shim, request)
        assert fake.containers == {}


async def test_a_removal_does_not_wait_for_the_look_for_what_nobody_knows(tmp_path: Path) -> None:
    unseen = "d" * 64
    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        looked, go = threading.Event(), threading.Event()

        def answer() -> Answer:
            looked.set()
            assert go.wait(20)
            return 200, [
                {"Id": one, "Names": [document["Name"]], "Labels": document["Config"]["Labels"]}
                for one, document in fake.containers.items()
            ]

        async with ground.up() as callers:
            ground.add(unseen, "k8s_late_web_default_u1_0")
            fake.answers["GET /containers/json"] = answer
            request = cri.RemovePodSandboxRequest(pod_sandbox_id=SANDBOX)
            callers.start_soon(remove_pod_sandbox, ground.shim, request)
            await ground.until_asked(f"DELETE /containers/{SANDBOX}")
            await until(looked.is_set, "the engine is asked what it has")
            assert ground.shim.checkpoints.get(SANDBOX) is not None
            go.set()
        assert fake.containers == {} and ground.shim.checkpoints.get(SANDBOX) is None


async def test_one_that_the_engine_cannot_stop_is_not_ready_without_its_network(
    tmp_path: Path,
) -> None:
    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        async with ground.up():
            assert ground.shim.store.sandbox(SANDBOX).ready
            fake.answers[f"POST /containers/{SANDBOX}/stop"] = lambda: (500, {"message": "stuck"})
            with pytest.raises(Internal, match="stuck"):
                await stop_pod_sandbox(ground.shim, REQUEST)
            assert ground.runs(SANDBOX) and len(ground.network.torn_down) == 1
            assert not ground.shim.store.sandbox(SANDBOX).ready
