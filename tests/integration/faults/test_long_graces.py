"""Many containers are in a grace of minutes at once: probes, lists and Status go on beside them.

``ASUPERVISOR_GRACES`` sets how many, ``ASUPERVISOR_GRACES_S`` for how many seconds at least."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service

_COUNT = int(os.environ.get("ASUPERVISOR_GRACES", "24"))
_SECONDS = float(os.environ.get("ASUPERVISOR_GRACES_S", "0"))
_SANDBOXES = 4
_AT_A_TIME = 8
_CALL_S = 120.0
_GRACE_S = 300
_STUBBORN = ("sh", "-c", "trap 'echo told' TERM; sleep 100000 & while :; do wait; done")
"""Says that it was told to end, and does not."""


@pytest.fixture
def service(engine: Engine, directory: Path) -> Iterator[Service]:
    running = Service(engine, directory)
    running.start()
    yield running
    assert running.stop() == 0


class Kubelet:
    """What goes on beside the graces.

    Args:
        runtime: the service.
        containers: all that are in a grace.
        other: one that is not.
    """

    def __init__(self, runtime: RemoteRuntimeService, containers: list[str], other: str) -> None:
        self.runtime = runtime
        self.containers = containers
        self.other = other
        self.over = False
        self.probes = 0
        self.looks = 0
        self.slowest_s = 0.0

    async def probe(self, mine: list[str]) -> None:
        """Run a command in one container after the other; each answers."""
        for container in itertools.cycle(mine):
            if self.over:
                return
            began = time.monotonic()
            try:
                answer = await self.runtime.exec_sync(
                    container, ["echo", "lives"], exec_timeout_s=60
                )
            except ServiceError:
                if self.over:
                    return
                raise
            if self.over:
                return  # its container may have been killed meanwhile
            assert (answer.exit_code, answer.stdout) == (0, b"lives\n")
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.probes += 1

    async def look(self) -> None:
        """The node is ready, and all of them run."""
        while not self.over:
            status = (await self.runtime.status()).status
            listed = await self.runtime.list_containers()
            if self.over:
                return
            assert all(condition.status for condition in status.conditions), status
            states = {one.id: one.state for one in listed}
            assert [states[one] for one in (*self.containers, self.other)] == [
                cri.CONTAINER_RUNNING
            ] * (len(self.containers) + 1)
            self.looks += 1


@pytest.mark.deadline(600 + 10 * _COUNT + _SECONDS)
async def test_probes_and_lists_go_on_beside_them(service: Service, engine: Engine) -> None:
    async with RemoteRuntimeService.connect(service.endpoint, _CALL_S) as runtime:
        configs = [pod_config(f"graces{number}") for number in range(_SANDBOXES)]
        sandboxes = [await runtime.run_pod_sandbox(config) for config in configs]
        started: list[str] = []
        numbers = iter(range(_COUNT + 1))

        async def start() -> None:
            for number in numbers:
                sandbox, config = sandboxes[number % 4], configs[number % 4]
                wanted = container_config(f"c{number}", _STUBBORN)
                container = await runtime.create_container(sandbox, wanted, config)
                await runtime.start_container(container)
                started.append(container)

        async with anyio.create_task_group() as tasks:
            for _ in range(_AT_A_TIME):
                tasks.start_soon(start)
        *graced, other = started
        logs = [Path(engine.inspect(container)["LogPath"]) for container in graced]
        kubelet = Kubelet(runtime, graced, other)
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for container in graced:
                tasks.start_soon(runtime.stop_container, container, _GRACE_S)
            tasks.start_soon(kubelet.look)
            await until(
                lambda: all("told" in log.read_text() for log in logs), "all are told", _CALL_S
            )
            for probed in (graced[::3], graced[1::3], [other]):
                tasks.start_soon(kubelet.probe, probed)
            await until(
                lambda: (
                    kubelet.probes >= 40
                    and kubelet.looks >= 40
                    and time.monotonic() - began >= _SECONDS
                ),
                "much was asked",
                _SECONDS + 2 * _CALL_S,
            )
            kubelet.over = True
            # Whoever kills what is in its grace does not wait for the grace, and those who do
            # are told that it has ended.
            for sandbox in sandboxes:
                tasks.start_soon(runtime.stop_pod_sandbox, sandbox)
        took_s = time.monotonic() - began
        print(
            f"{len(graced)} in a grace for {took_s:.0f} s: {kubelet.probes} probes, the slowest"
            f" {kubelet.slowest_s:.2f} s; {kubelet.looks} times Status and ListContainers"
        )
        states = {one.id: one.state for one in await runtime.list_containers()}
        assert set(states.values()) == {cri.CONTAINER_EXITED}
        assert not [one for one in engine.containers() if one["State"] == "running"]
        async with anyio.create_task_group() as tasks:
            for sandbox in sandboxes:
                tasks.start_soon(runtime.remove_pod_sandbox, sandbox)
