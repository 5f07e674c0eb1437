"""The engine is frozen, or killed with and without live restore, while pods run on a CNI bridge and
callers go on asking: nothing that is answered is untrue, and what lives through it is as it was.

``ASUPERVISOR_OUTAGE_S`` makes longer outages."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import DeadlineExceeded, ServiceError, Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.bridged_node import (
    CNI_BINARIES,
    ENGINE_ARGUMENTS,
    BridgedNode,
    Pod,
    bridged_node,
    counts_on,
    remove_pods,
    run_pod,
)
from tests.harness.churning import agrees
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import container_config, pod_config, until, until_nothing

pytestmark = pytest.mark.skipif(
    not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
)

_OUTAGE_S = float(os.environ.get("ASUPERVISOR_OUTAGE_S", "4"))
_DEADLINE_S = 15.0
_STUBBORN = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")


# The first that is noticed of a dead engine is that its events ended.
_DEAD = {"EngineEventsLost", "EngineNotRunning"}
_REASONS = {
    "frozen": {"EngineNotAnswering"},
    "killed with live restore": _DEAD,
    "killed": _DEAD,
}


@pytest.fixture(params=_REASONS)
def node(request: pytest.FixtureRequest, directory: Path) -> Iterator[BridgedNode]:
    restoring = ("--live-restore",) if "restore" in request.param else ()
    engine = Engine(arguments=(*ENGINE_ARGUMENTS, *restoring))
    engine.start()
    try:
        engine.load(busybox_archive())
        with bridged_node(engine, directory) as running:
            yield running
    finally:
        engine.destroy()


class Callers:
    """What is asked while the engine is away, and what came of it.

    Args:
        node: the node.
        kept: pods that nobody asks to be stopped with success.
        doomed: a pod whose container is being stopped when the outage begins.
        reasons: that Status may give.
    """

    def __init__(self, node: BridgedNode, kept: list[Pod], doomed: Pod, reasons: set[str]) -> None:
        self.node, self.kept, self.doomed, self.reasons = node, kept, doomed, reasons
        self.over = anyio.Event()
        self.noticed = anyio.Event()
        self.counts = {"reads": 0, "refused": 0}
        self.events: list[cri.ContainerEventResponse] = []

    async def read(self, runtime: RemoteRuntimeService) -> None:
        """Lists and statuses, which must stay as they are."""
        before = await self._seen(runtime)
        while not self.over.is_set():
            with anyio.fail_after(10):
                now = await self._seen(runtime)
            if self.over.is_set():
                return
            assert now == before
            self.counts["reads"] += 1

    async def _seen(self, runtime: RemoteRuntimeService) -> dict[str, object]:
        """Everything that is told of the pods that were there before the outage."""
        pods = [*self.kept, self.doomed]
        ids = {one for pod in pods for one in (pod.sandbox, pod.container)}
        seen: dict[str, object] = {}
        for listed in (await runtime.list_pod_sandbox(), await runtime.list_containers()):
            seen |= {one.id: one for one in listed if one.id in ids}
        assert seen.keys() == ids
        for pod in pods:
            sandbox = (await runtime.pod_sandbox_status(pod.sandbox)).status
            container = (await runtime.container_status(pod.container)).status
            seen |= {f"status of {pod.sandbox}": sandbox, f"status of {pod.container}": container}
            assert (sandbox.state, container.state) == (cri.SANDBOX_READY, cri.CONTAINER_RUNNING)
        return seen

    async def look(self, runtime: RemoteRuntimeService) -> None:
        """Status, which is not ready with the reason from when that was noticed until the end."""
        while not self.over.is_set():
            with anyio.fail_after(10):
                conditions = (await runtime.status()).status.conditions
            (ready,) = [one for one in conditions if one.type == "RuntimeReady"]
            if self.over.is_set():
                return
            if self.noticed.is_set():
                assert not ready.status and ready.reason in self.reasons and ready.message, ready
            elif not ready.status:
                self.noticed.set()

    async def change(self, runtime: RemoteRuntimeService, until_s: float) -> None:
        """Changes of pods that are to live, each of which must be refused.

        Args:
            runtime: the service.
            until_s: on the monotonic clock, when no more are asked for.
        """
        pod = self.kept[0]
        while self.counts["reads"] <= 20 or time.monotonic() < until_s:
            for call in (
                lambda: runtime.stop_container(pod.container, 1),
                lambda: runtime.remove_container(pod.container),
                lambda: runtime.stop_pod_sandbox(pod.sandbox),
                lambda: runtime.remove_pod_sandbox(pod.sandbox),
                lambda: runtime.run_pod_sandbox(pod_config("other")),
                lambda: runtime.create_container(pod.sandbox, container_config("b"), pod.config),
                lambda: runtime.exec_sync(pod.container, ["true"], exec_timeout_s=3),
            ):
                with anyio.fail_after(_DEADLINE_S + 10), pytest.raises(Unavailable):
                    await call()
                self.counts["refused"] += 1

    async def listen(self, runtime: RemoteRuntimeService) -> None:
        """Keep every event; ended by a cancellation."""
        async for event in runtime.get_container_events():
            self.events.append(event)


async def _answer(outcomes: dict[str, str], what: str, call: object, within_s: float) -> None:
    """Wait for a change that is under way when the outage begins."""
    began = time.monotonic()
    try:
        outcomes[what] = f"OK {await call or ''}"  # type: ignore[misc]
    except ServiceError as error:
        outcomes[what] = error.code
    # The deadline that the caller set, widely.
    assert time.monotonic() - began < within_s + 20, what


async def test_nothing_untrue_is_said_while_the_engine_is_away(
    node: BridgedNode, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["node"]
    engine = node.engine

    def begin() -> None:
        engine.signal(signal.SIGSTOP if kind == "frozen" else signal.SIGKILL)

    def end() -> None:
        if kind == "frozen":
            engine.signal(signal.SIGCONT)
        else:
            engine.start()

    async with RemoteRuntimeService.connect(node.endpoint, _DEADLINE_S) as runtime:
        kept = [await run_pod(runtime, f"kept{number}", node.logs) for number in range(3)]
        doomed = await run_pod(runtime, "doomed", node.logs, _STUBBORN)
        lived = [pod.lives_as(engine) for pod in kept]
        addresses = node.leases()
        callers = Callers(node, kept, doomed, _REASONS[kind])
        outcomes: dict[str, str] = {}
        async with anyio.create_task_group() as watching:
            watching.start_soon(callers.listen, runtime)
            async with anyio.create_task_group() as tasks:
                for what, call, within_s in (
                    ("stop", runtime.stop_container(doomed.container, 5), _DEADLINE_S + 5),
                    ("exec", runtime.exec_sync(kept[1].container, ["sleep", "99"], 3), 18),
                ):
                    tasks.start_soon(_answer, outcomes, what, call, within_s)
                await until(
                    lambda: engine.inspect(kept[1].container)["ExecIDs"], "the command runs"
                )
                begin()
                began = time.monotonic()
                begun = runtime.run_pod_sandbox(pod_config("begun"))
                tasks.start_soon(_answer, outcomes, "run", begun, _DEADLINE_S)
                tasks.start_soon(callers.read, runtime)
                tasks.start_soon(callers.look, runtime)
                with anyio.fail_after(20):
                    await callers.noticed.wait()
                with anyio.fail_after(_OUTAGE_S + 60):
                    await callers.change(runtime, began + _OUTAGE_S)
                callers.over.set()
                await anyio.to_thread.run_sync(end)
            await until(lambda: _ready(runtime), "the node is ready", 60)
            watching.cancel_scope.cancel()
        print(f"{kind} for {_OUTAGE_S} s: {callers.counts}; under way: {outcomes}")
        # What was under way when the engine came back comes to its end first.
        await until(lambda: agrees(runtime, engine), "it knows what is", 60)
        if kind == "killed":
            for pod in kept:
                status = (await runtime.pod_sandbox_status(pod.sandbox)).status
                assert status.state == cri.SANDBOX_NOTREADY
        else:
            await _as_before(node, runtime, callers, lived)
            assert {a: s for a, s in node.leases().items() if a in addresses} == addresses
        await _what_was_under_way_can_go_on(node, runtime, doomed, outcomes)
        await remove_pods(runtime)
        await until_nothing(node.remains)


async def _ready(runtime: RemoteRuntimeService) -> bool:
    return all(condition.status for condition in (await runtime.status()).status.conditions)


async def _as_before(
    node: BridgedNode, runtime: RemoteRuntimeService, callers: Callers, lived: list[list[object]]
) -> None:
    """The pods that nobody stopped are what they were, and nothing was told of them."""
    kept = callers.kept
    assert [pod.lives_as(node.engine) for pod in kept] == lived
    ids = {one for pod in kept for one in (pod.sandbox, pod.container)}
    assert [event for event in callers.events if event.container_id in ids] == []
    for pod in kept:
        status = (await runtime.pod_sandbox_status(pod.sandbox)).status
        assert status.state == cri.SANDBOX_READY
        assert node.leases()[status.network.ip] == pod.sandbox
        await counts_on(pod)


async def _what_was_under_way_can_go_on(
    node: BridgedNode, runtime: RemoteRuntimeService, doomed: Pod, outcomes: dict[str, str]
) -> None:
    """What was answered OK is so; the rest can be asked for again."""
    engine = node.engine
    assert set(outcomes) == {"stop", "exec", "run"}
    allowed = {"OK", DeadlineExceeded.code, Unavailable.code}
    assert {outcome.split()[0] for outcome in outcomes.values()} <= allowed
    if not outcomes["stop"].startswith("OK"):
        await runtime.stop_container(doomed.container, 0)
    assert not engine.inspect(doomed.container)["State"]["Running"]
    listed = [one for one in await runtime.list_pod_sandbox() if one.metadata.name == "begun"]
    begun = next((one.id for one in listed if one.state == cri.SANDBOX_READY), "")
    if outcomes["run"].startswith("OK"):
        assert outcomes["run"] == f"OK {begun}"
    begun = begun or await runtime.run_pod_sandbox(pod_config("begun"))
    named = [one["Id"] for one in engine.containers() if "begun" in one["Names"][0]]
    assert named == [begun]
    assert engine.inspect(begun)["State"]["Running"]
    assert begun in node.leases().values()
