"""The service is killed at random moments under load, its start included, and started again: no pod
that was answered OK is harmed, and nothing is left in the end.

``ASUPERVISOR_KILLS`` sets how often, ``ASUPERVISOR_KILLS_SEED`` when and what."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest

from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.bridged_node import (
    CNI_BINARIES,
    ENGINE_ARGUMENTS,
    BridgedNode,
    Pod,
    bridged_node,
    run_pod,
)
from tests.harness.churning import agrees, is_ready
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import until, until_nothing
from tests.integration.logs.kubelet import LogRotation

pytestmark = pytest.mark.skipif(
    not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
)

_KILLS = int(os.environ.get("ASUPERVISOR_KILLS", "6"))
_SEED = int(os.environ.get("ASUPERVISOR_KILLS_SEED", "1"))
_CALLERS = 4
_PATIENCE_S = 120.0
_CALL_S = 60.0

T = TypeVar("T")


@pytest.fixture
def node(directory: Path) -> Iterator[BridgedNode]:
    engine = Engine(arguments=ENGINE_ARGUMENTS)
    engine.start()
    try:
        engine.load(busybox_archive())
        with bridged_node(engine, directory) as running:
            yield running
    finally:
        engine.destroy()


class Kubelet:
    """What calls the service, and calls again when it was killed meanwhile.

    Args:
        node: the node.
        chance: whence each draw comes.
    """

    def __init__(self, node: BridgedNode, chance: random.Random) -> None:
        self.node = node
        self.chance = chance
        self.done = 0
        self.broken = 0
        self.over = False

    async def call(self, do: Callable[[RemoteRuntimeService], Awaitable[T]]) -> T:
        """One call, once; what came of it is unknown when the service dies.

        Raises:
            ServiceError: it answered so, or does not answer.
        """
        async with RemoteRuntimeService.connect(self.node.endpoint, _CALL_S) as runtime:
            return await do(runtime)

    async def surely(self, do: Callable[[RemoteRuntimeService], Awaitable[T]], what: str) -> T:
        """A call that may be repeated, until it is answered OK."""
        outcome: list[T] = []

        async def answered() -> bool:
            if not _listens(self.node):
                return False
            try:
                outcome.append(await self.call(do))
            except ServiceError:
                self.broken += 1
                return False
            return True

        await until(answered, what, _PATIENCE_S)
        return outcome[0]

    async def lives(self, worker: int) -> None:
        """Pods, one after the other, each through the whole of its life."""
        for number in itertools.count():
            if self.over:
                return
            name = f"w{worker}-{number}"
            await until(lambda: _listens(self.node), "it listens", _PATIENCE_S)
            try:
                pod = await self.call(partial(self._run, name))
            except ServiceError:
                # Nobody knows how far it came. kubelet looks, and makes an end of what it finds.
                self.broken += 1
                await self._end_all(name)
                continue
            await self._unharmed(pod)
            await self._use(pod)
            await self._unharmed(pod)
            await self._end_all(name)
            await self._is_gone(pod)
            self.done += 1

    async def _run(self, name: str, runtime: RemoteRuntimeService) -> Pod:
        command = ("sh", "-c", "trap 'exit 0' TERM; echo 0 -; while :; do sleep 0.1; done")
        return await run_pod(runtime, name, self.node.logs, command)

    async def _use(self, pod: Pod) -> None:
        """Some of what is done with a pod."""
        if self.chance.random() < 0.5:
            echo = await self.surely(
                lambda runtime: runtime.exec_sync(pod.container, ["echo", "here"], 20), "an exec"
            )
            assert echo.stdout == b"here\n"
        await until(lambda: pod.log.exists() and pod.numbers() == [0], "its line", _PATIENCE_S)
        if self.chance.random() < 0.5:
            await self.surely(lambda runtime: runtime.stop_container(pod.container, 5), "a stop")
            state = (await self._state(pod.container))["Status"]
            assert state == "exited", "its stop was answered OK"
            await self.surely(lambda runtime: runtime.remove_container(pod.container), "a removal")
            assert await self._state(pod.container) == {}, "its removal was answered OK"

    async def _state(self, container: str) -> dict[str, object]:
        status, document = await anyio.to_thread.run_sync(
            self.node.engine.request, "GET", f"/containers/{container}/json"
        )
        return dict(document["State"]) if status == 200 else {}

    async def _unharmed(self, pod: Pod) -> None:
        """What was answered OK runs, with its address, unless this caller stopped it."""
        assert (await self._state(pod.sandbox)).get("Running"), "the sandbox was answered OK"
        state = await self._state(pod.container)
        assert not state or state["Running"] or state["ExitCode"] == 0
        assert list(self.node.leases().values()).count(pod.sandbox) == 1

    async def _end_all(self, name: str) -> None:
        """Stop and remove every sandbox of a pod; each is asked for until it is answered OK."""

        async def found(runtime: RemoteRuntimeService) -> list[str]:
            listed = await runtime.list_pod_sandbox()
            return [one.id for one in listed if one.metadata.name == name]

        for sandbox in await self.surely(found, "a list"):
            await self._end(sandbox)

    async def _end(self, sandbox: str) -> None:
        await self.surely(lambda runtime: runtime.stop_pod_sandbox(sandbox), "a stop")
        state = await self._state(sandbox)
        assert not state.get("Running"), "its stop was answered OK"
        await self.surely(lambda runtime: runtime.remove_pod_sandbox(sandbox), "a removal")

    async def _is_gone(self, pod: Pod) -> None:
        for one in (pod.sandbox, pod.container):
            assert await self._state(one) == {}, "its removal was answered OK"
        assert pod.sandbox not in self.node.leases().values()

    async def rotates(self, rotation: LogRotation) -> None:
        """Look after the log of a pod that stays."""
        while not self.over:
            if _listens(self.node):
                await rotation.tick()
            await anyio.sleep(0.2)  # the monitor's interval

    async def look(self, stay: list[Pod]) -> None:
        """List all the time; the pods that stay are in every list, and run."""
        ids = {pod.container for pod in stay}
        while not self.over:
            listed = await self.surely(lambda runtime: runtime.list_containers(), "a list")
            found = {one.id for one in listed if one.state == cri.CONTAINER_RUNNING}
            assert ids <= found


def _listens(node: BridgedNode) -> bool:
    return node.service.process is not None and node.service.listens()


async def _listens_and_is_ready(node: BridgedNode) -> bool:
    return _listens(node) and await is_ready(node.endpoint)


async def _kill(node: BridgedNode, chance: random.Random) -> None:
    """Kill it and start it again, some of the times before it was ready."""
    # Draws the moment; waits for nothing.
    await anyio.sleep(chance.uniform(0.0, 2.5))
    node.service.kill()
    node.service.spawn()
    if chance.random() < 0.6:
        await until(lambda: _listens_and_is_ready(node), "it is ready again", 60)


@pytest.mark.deadline(600 + 60 * _KILLS)
async def test_nothing_is_harmed_and_nothing_is_left(node: BridgedNode) -> None:
    print(f"seed {_SEED}, {_KILLS} kills")
    moments, kubelet = random.Random(_SEED), Kubelet(node, random.Random(_SEED + 1))

    async with RemoteRuntimeService.connect(node.endpoint, _CALL_S) as runtime:
        stay = [await run_pod(runtime, f"stays{number}", node.logs) for number in range(2)]
    lived, addresses = [pod.lives_as(node.engine) for pod in stay], node.leases()
    rotations = [
        LogRotation(
            pod.log,
            4000,
            lambda pod=pod: kubelet.call(  # type: ignore[misc]
                lambda runtime: runtime.reopen_container_log(pod.container)
            ),
        )
        for pod in stay
    ]
    async with anyio.create_task_group() as tasks:
        for worker in range(_CALLERS):
            tasks.start_soon(kubelet.lives, worker)
        for rotation in rotations:
            tasks.start_soon(kubelet.rotates, rotation)
        tasks.start_soon(kubelet.look, stay)
        for _ in range(_KILLS):
            await _kill(node, moments)
        await until(lambda: kubelet.done >= _CALLERS, "pods went all the way", _PATIENCE_S)
        kubelet.over = True
    await until(lambda: _listens_and_is_ready(node), "it is ready", 60)
    async with RemoteRuntimeService.connect(node.endpoint, _CALL_S) as runtime:
        await until(lambda: agrees(runtime, node.engine), "it knows what is")
        # What a call that was broken off still brought, after its caller had looked.
        kept = {pod.sandbox for pod in stay}
        for late in {one.id for one in await runtime.list_pod_sandbox()} - kept:
            await runtime.stop_pod_sandbox(late)
            await runtime.remove_pod_sandbox(late)
        assert [pod.lives_as(node.engine) for pod in stay] == lived
        assert node.leases() == addresses
        for pod, rotation in zip(stay, rotations, strict=True):
            status = (await runtime.pod_sandbox_status(pod.sandbox)).status
            assert addresses[status.network.ip] == pod.sandbox
            await runtime.stop_container(pod.container, 10)
            last = pod.engine_numbers(node.engine)[-1]
            await runtime.stop_pod_sandbox(pod.sandbox)
            await runtime.remove_pod_sandbox(pod.sandbox)
            rotation.check_rest()
            assert rotation.next_number == last + 1
        await until_nothing(node.remains)
    print(
        f"{kubelet.done} pods went all the way; {kubelet.broken} calls failed;"
        f" {sum(one.rotations for one in rotations)} rotations"
    )
