"""Who ends something sees every change of it that is under way, whoever waits for that; and what is
answered OK is so.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from asupervisor.dockershim.container.create import create_container
from asupervisor.dockershim.container.remove import remove_container
from asupervisor.dockershim.container.start import start_container
from asupervisor.dockershim.container.stop import stop_container
from asupervisor.dockershim.container.update import update_container_resources
from asupervisor.dockershim.sandbox.remove import remove_pod_sandbox
from asupervisor.dockershim.sandbox.stop import stop_pod_sandbox
from asupervisor.dockershim.sandbox.teardown import is_stopped
from asupervisor.dockershim.sandbox.update import update_pod_sandbox_resources
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    ServiceError,
    Unavailable,
)
from asupervisor.node import checkpoints
from asupervisor.proto import cri
from tests.harness.fake_engine import Answer, FakeEngine
from tests.harness.ground import CONTAINER, SANDBOX, Ground

START = f"POST /containers/{CONTAINER}/start"
STOP = f"POST /containers/{CONTAINER}/stop"
STOP_SANDBOX = f"POST /containers/{SANDBOX}/stop"


@pytest.fixture
def ground(tmp_path: Path) -> Any:
    with FakeEngine(tmp_path / "engine.sock") as fake:
        yield Ground(fake, tmp_path / "root")


def start(ground: Ground) -> Coroutine[Any, Any, object]:
    return start_container(ground.shim, cri.StartContainerRequest(container_id=CONTAINER))


def stop(ground: Ground, grace_s: int = 0) -> Coroutine[Any, Any, object]:
    request = cri.StopContainerRequest(container_id=CONTAINER, timeout=grace_s)
    return stop_container(ground.shim, request)


def remove(ground: Ground) -> Coroutine[Any, Any, object]:
    return remove_container(ground.shim, cri.RemoveContainerRequest(container_id=CONTAINER))


def stop_sandbox(ground: Ground) -> Coroutine[Any, Any, object]:
    return stop_pod_sandbox(ground.shim, cri.StopPodSandboxRequest(pod_sandbox_id=SANDBOX))


def remove_sandbox(ground: Ground) -> Coroutine[Any, Any, object]:
    return remove_pod_sandbox(ground.shim, cri.RemovePodSandboxRequest(pod_sandbox_id=SANDBOX))


def create(ground: Ground, name: str = "late") -> Coroutine[Any, Any, object]:
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name), image=cri.ImageSpec(image="busybox")
    )
    pod = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name="web", namespace="default", uid="u1")
    )
    return create_container(
        ground.shim,
        cri.CreateContainerRequest(pod_sandbox_id=SANDBOX, config=config, sandbox_config=pod),
    )


class Call:
    """A call of a verb in the background, and its outcome."""

    def __init__(self, callers: TaskGroup, verb: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.error: ServiceError | None = None
        self.done = anyio.Event()
        self._verb = verb
        callers.start_soon(self._run)

    async def _run(self) -> None:
        try:
            await self._verb()
        except ServiceError as error:
            self.error = error
        self.done.set()

    async def outcome(self) -> ServiceError | None:
        with anyio.fail_after(10):
            await self.done.wait()
        return self.error


async def give_up(
    ground: Ground, verb: Callable[[], Coroutine[Any, Any, object]], request: str
) -> None:
    """Call a verb and leave it once the engine was asked."""
    async with anyio.create_task_group() as callers:
        callers.start_soon(verb)
        await ground.until_asked(request)
        callers.cancel_scope.cancel()


@pytest.mark.parametrize("end", [stop, stop_sandbox], ids=["StopContainer", "StopPodSandbox"])
async def test_a_start_that_outlived_its_caller_is_stopped(
    ground: Ground, end: Callable[[Ground], Coroutine[Any, Any, object]]
) -> None:
    async with ground.up() as callers:
        go = ground.hold(START)
        await give_up(ground, lambda: start(ground), START)
        call = Call(callers, lambda: end(ground))
        await ground.until_asked(STOP)
        await anyio.wait_all_tasks_blocked()
        assert not call.done.is_set(), "nobody knows yet whether it will run"
        go.set()
        assert await call.outcome() is None
        assert not ground.runs(CONTAINER), "answered OK, so it does not run"
        assert ground.shim.store.containers[CONTAINER].status.state == cri.CONTAINER_EXITED


async def test_a_start_that_the_engine_never_ends_is_told_and_not_waited_for_for_ever(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asupervisor.dockershim.container.stop._AFTER_ENGINE_S", -19.9)
    async with ground.up() as callers:
        go = ground.hold(START)
        await give_up(ground, lambda: start(ground), START)
        assert isinstance(await Call(callers, lambda: stop(ground)).outcome(), DeadlineExceeded)
        assert ground.asked(STOP) == 1, "the engine was asked all the same"
        go.set()


@pytest.mark.parametrize("end", [stop, stop_sandbox], ids=["StopContainer", "StopPodSandbox"])
async def test_a_start_that_has_not_reached_the_engine_is_refused(
    ground: Ground, end: Callable[[Ground], Coroutine[Any, Any, object]]
) -> None:
    update = cri.UpdateContainerResourcesRequest(
        container_id=CONTAINER, linux=cri.LinuxContainerResources(memory_limit_in_bytes=1 << 26)
    )
    request = f"POST /containers/{CONTAINER}/update"
    async with ground.up() as callers:
        go = ground.hold(request)
        ground.fake.answers[request] = lambda: (200 if go.wait(20) else 500, {})
        Call(callers, lambda: update_container_resources(ground.shim, update))
        await ground.until_asked(request)
        started = Call(callers, lambda: start(ground))
        await anyio.wait_all_tasks_blocked()
        assert await Call(callers, lambda: end(ground)).outcome() is None
        go.set()
        assert isinstance(await started.outcome(), FailedPrecondition)
        assert ground.asked(START) == 0


async def test_a_start_that_nobody_saw_end_is_stopped_too(ground: Ground) -> None:
    async with ground.up(timeout_s=0.3) as callers:
        go = ground.hold(START)
        inspect = f"GET /containers/{CONTAINER}/json"
        ground.fake.answers[inspect] = lambda: (500, {"message": "busy"})
        assert isinstance(await Call(callers, lambda: start(ground)).outcome(), DeadlineExceeded)
        assert ground.shim.store.containers[CONTAINER].status.state == cri.CONTAINER_CREATED
        go.set()
        with anyio.fail_after(5):
            while not ground.runs(CONTAINER):  # noqa: ASYNC110 - the engine's thread
                await anyio.sleep(0.005)
        del ground.fake.answers[inspect]
        assert await Call(callers, lambda: stop(ground)).outcome() is None
        assert not ground.runs(CONTAINER)


@pytest.mark.parametrize("end", [stop, stop_sandbox], ids=["StopContainer", "StopPodSandbox"])
async def test_a_start_that_takes_effect_after_it_was_given_up_and_read_is_stopped(
    ground: Ground, end: Callable[[Ground], Coroutine[Any, Any, object]]
) -> None:
    async with ground.up(timeout_s=0.3) as callers:
        go = ground.hold(START)
        assert isinstance(await Call(callers, lambda: start(ground)).outcome(), DeadlineExceeded)
        await ground.shim.feed.refresh(CONTAINER)
        assert ground.shim.store.containers[CONTAINER].status.state == cri.CONTAINER_CREATED
        ground._state(CONTAINER, True)  # no event came: the engine was just being restarted
        assert await Call(callers, lambda: end(ground)).outcome() is None
        assert not ground.runs(CONTAINER)
        go.set()


async def test_nothing_begins_in_a_sandbox_that_is_being_stopped_or_is(ground: Ground) -> None:
    async with ground.up() as callers:
        go = ground.hold(STOP_SANDBOX)
        stopped = Call(callers, lambda: stop_sandbox(ground))
        await ground.until_asked(STOP_SANDBOX)
        for verb in (start, create):
            error = await Call(callers, lambda verb=verb: verb(ground)).outcome()  # type: ignore[misc]
            # Its network may be released by then, beside the stop.
            assert isinstance(error, FailedPrecondition)
            assert "being stopped" in error.message or "not ready" in error.message
        go.set()
        assert await stopped.outcome() is None
        for verb in (start, create):
            error = await Call(callers, lambda verb=verb: verb(ground)).outcome()  # type: ignore[misc]
            assert isinstance(error, FailedPrecondition) and "not ready" in error.message
        assert ground.asked(START) == 0


async def test_what_was_asked_of_a_sandbox_before_its_end_is_decided_after_it(
    ground: Ground,
) -> None:
    request = cri.UpdatePodSandboxResourcesRequest(
        pod_sandbox_id=SANDBOX, resources=cri.LinuxContainerResources(cpu_shares=2)
    )
    async with ground.up() as callers:
        go = ground.hold(STOP_SANDBOX)
        stopped = Call(callers, lambda: stop_sandbox(ground))
        await ground.until_asked(STOP_SANDBOX)
        updated = Call(callers, lambda: update_pod_sandbox_resources(ground.shim, request))
        await anyio.wait_all_tasks_blocked()
        go.set()
        assert await stopped.outcome() is None
        assert isinstance(await updated.outcome(), FailedPrecondition)


async def test_a_start_under_way_is_removed_with_its_sandbox(ground: Ground) -> None:
    async with ground.up() as callers:
        go = ground.hold(START)
        await give_up(ground, lambda: start(ground), START)
        call = Call(callers, lambda: remove_sandbox(ground))
        await anyio.wait_all_tasks_blocked()
        assert not call.done.is_set()
        go.set()
        assert await call.outcome() is None
        assert ground.fake.containers == {}
        assert not ground.shim.store.containers and not ground.shim.store.sandboxes


async def test_a_shorter_grace_does_not_wait_for_a_longer_one(ground: Ground) -> None:
    async with ground.up() as callers:
        await start(ground)
        go = ground.hold(STOP)
        slow = Call(callers, lambda: stop(ground, 600))
        await ground.until_asked(STOP)
        del ground.held[STOP]
        assert await Call(callers, lambda: stop(ground, 0)).outcome() is None
        assert not ground.runs(CONTAINER)
        go.set()
        assert await slow.outcome() is None


async def test_a_network_that_cannot_be_released_keeps_nothing_from_stopping(
    ground: Ground,
) -> None:
    async with ground.up() as callers:
        await start(ground)
        ground.network.error = Internal("the plugin cannot let go")
        ground.fake.answers[STOP] = lambda: (500, {"message": "cannot kill it"})
        error = await Call(callers, lambda: stop_sandbox(ground)).outcome()
        assert isinstance(error, Internal)
        assert "the plugin cannot let go" in error.message and "cannot kill it" in error.message
        assert not ground.runs(SANDBOX), "stopped all the same"
        assert not ground.shim.store.sandboxes[SANDBOX].ready

        ground.network.error = None
        del ground.fake.answers[STOP]
        ground.add(CONTAINER, "k8s_main_web_default_u1_0")
        assert await Call(callers, lambda: stop_sandbox(ground)).outcome() is None
        assert len(ground.network.torn_down) == 2, "tried again"
        assert await Call(callers, lambda: stop_sandbox(ground)).outcome() is None
        assert len(ground.network.torn_down) == 2, "and not once it was released"


async def test_a_full_disk_keeps_nothing_from_being_stopped_and_removed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with ground.up():
        await start(ground)
        monkeypatch.setattr(checkpoints, "write_file", full)
        await stop_sandbox(ground)
        assert not ground.runs(SANDBOX) and not ground.runs(CONTAINER)
        assert "No space left on device" in caplog.text
        await remove_sandbox(ground)
        assert ground.fake.containers == {} and ground.shim.checkpoints.all == {}


async def test_a_network_that_cannot_be_released_keeps_no_container_from_being_removed(
    ground: Ground,
) -> None:
    async with ground.up() as callers:
        await start(ground)
        ground.network.error = Internal("the plugin cannot let go")
        error = await Call(callers, lambda: remove_sandbox(ground)).outcome()
        assert isinstance(error, Internal)
        assert ground.fake.containers == {}
        (left,) = ground.shim.store.sandboxes.values()
        assert (left.id, left.ready) == (SANDBOX, False), "shown until its network is released"
        ground.network.error = None
        assert await Call(callers, lambda: remove_sandbox(ground)).outcome() is None
        assert not ground.shim.store.sandboxes and SANDBOX not in ground.shim.checkpoints.all


async def test_a_container_that_cannot_be_removed_keeps_nothing_else(ground: Ground) -> None:
    async with ground.up() as callers:
        request = f"DELETE /containers/{CONTAINER}"
        removal = ground.fake.answers[request]
        ground.fake.answers[request] = lambda: (500, {"message": "device or resource busy"})
        error = await Call(callers, lambda: remove_sandbox(ground)).outcome()
        assert isinstance(error, Internal)
        assert set(ground.fake.containers) == {CONTAINER}
        assert set(ground.shim.store.sandboxes) == {SANDBOX}, "shown as long as something is left"
        ground.fake.answers[request] = removal
        assert await Call(callers, lambda: remove_sandbox(ground)).outcome() is None
        assert ground.fake.containers == {} and not ground.shim.store.sandboxes


async def test_what_is_known_to_be_stopped_is_asked_of_nobody_until_it_runs_again(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with ground.up():
        await start(ground)
        await stop_sandbox(ground)
        assert (ground.asked(STOP), ground.asked(STOP_SANDBOX)) == (1, 1)
        with anyio.fail_after(10):  # the events of the stop are followed up
            while not is_stopped(ground.shim, ground.shim.store.sandboxes[SANDBOX]):  # noqa: ASYNC110
                await anyio.sleep(0.005)
        caplog.clear()
        asked = [request for request in ground.fake.requests if not request.startswith("GET ")]
        for _ in range(3):
            await stop_sandbox(ground)
            await stop(ground)
        assert [r for r in ground.fake.requests if not r.startswith("GET ")] == asked
        assert not caplog.records

        ground._start(SANDBOX)
        ground.fake.emit(
            {
                "Type": "container",
                "Action": "start",
                "Actor": {
                    "ID": SANDBOX,
                    "Attributes": {"io.kubernetes.docker.type": "podsandbox"},
                },
            }
        )
        with anyio.fail_after(10):
            while not ground.shim.store.sandboxes[SANDBOX].ready:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        await stop_sandbox(ground)
        assert not ground.runs(SANDBOX)


@pytest.mark.parametrize("what", [remove, remove_sandbox], ids=["container", "sandbox"])
async def test_a_removal_that_the_engine_is_at_already_is_waited_for(
    ground: Ground, what: Callable[[Ground], Coroutine[Any, Any, object]]
) -> None:
    any_id = CONTAINER if what is remove else SANDBOX
    request = f"DELETE /containers/{any_id}"
    removal = ground.fake.answers[request]
    ground.fake.answers[request] = lambda: (409, {"message": "in progress"})
    async with ground.up() as callers:
        call = Call(callers, lambda: what(ground))
        await ground.until_asked(request, times=2)
        assert not call.done.is_set()
        ground.fake.answers[request] = removal
        assert await call.outcome() is None
        assert any_id not in ground.fake.containers


async def test_a_removal_that_does_not_end_is_told(ground: Ground) -> None:
    request = f"DELETE /containers/{CONTAINER}"
    ground.fake.answers[request] = lambda: (409, {"message": "in progress"})
    async with ground.up(timeout_s=0.2) as callers:
        assert isinstance(await Call(callers, lambda: remove(ground)).outcome(), DeadlineExceeded)


async def test_a_container_that_is_being_removed_counts_as_stopped_once_it_does_not_run(
    ground: Ground,
) -> None:
    async with ground.up() as callers:
        await start(ground)
        ground.fake.answers[STOP] = lambda: (409, {"message": "marked for removal"})
        assert isinstance(await Call(callers, lambda: stop(ground)).outcome(), FailedPrecondition)
        state = ground.fake.containers[CONTAINER]["State"]
        state.update(Status="removing", Running=False)
        assert await Call(callers, lambda: stop(ground)).outcome() is None


async def test_a_container_that_somebody_starts_again_at_once_is_not_called_stopped(
    ground: Ground,
) -> None:
    async with ground.up() as callers:
        await start(ground)
        ground.fake.answers[STOP] = lambda: (204, b"")
        assert isinstance(await Call(callers, lambda: stop(ground)).outcome(), Unavailable)


async def test_what_is_gone_is_stopped_and_removed(ground: Ground) -> None:
    async with ground.up() as callers:
        await remove_sandbox(ground)
        for verb in (stop, remove, stop_sandbox, remove_sandbox):
            assert await Call(callers, lambda verb=verb: verb(ground)).outcome() is None  # type: ignore[misc]
        assert isinstance(await Call(callers, lambda: start(ground)).outcome(), NotFound)


async def test_a_sandbox_that_runs_unseen_is_stopped_too(ground: Ground) -> None:
    ground._state(SANDBOX, None)
    async with ground.up() as callers:
        assert not ground.shim.store.sandboxes[SANDBOX].ready
        ground._state(SANDBOX, True)  # a start that was given up on takes effect; no event came
        assert await Call(callers, lambda: stop_sandbox(ground)).outcome() is None
        assert not ground.runs(SANDBOX)


async def test_a_start_that_was_told_of_and_not_read_yet_is_stopped(ground: Ground) -> None:
    ground._state(CONTAINER, False)
    read, released = f"GET /containers/{CONTAINER}/json", threading.Event()

    def late() -> Answer:
        assert released.wait(20)
        return 200, ground.fake.containers[CONTAINER]

    async with ground.up() as callers:
        assert not ground.shim.store.containers[CONTAINER].running
        before = ground.asked(read)
        ground.fake.answers[read] = late
        ground._start(CONTAINER)  # by somebody else
        await ground.until_asked(read, before + 1)
        call = Call(callers, lambda: stop(ground))
        try:
            await ground.until_asked(STOP)
        finally:
            released.set()
        assert await call.outcome() is None
        assert not ground.runs(CONTAINER)
