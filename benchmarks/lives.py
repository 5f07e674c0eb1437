"""Pods that are taken through their life by a CRI server, or without one, and how long each step
takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeVar

import anyio

from asupervisor.remote import RemoteRuntimeService
from benchmarks.prepare import container_config, new_run, pod_config

GRACE_S = 2
"""Of a container's stop, in seconds: kubelet's least."""
Result = TypeVar("Result")

TO_STARTED = ("RunPodSandbox", "CreateContainer", "StartContainer")
TO_NOTHING = ("StopContainer", "StopPodSandbox", "RemoveContainer", "RemovePodSandbox")
STEPS = (*TO_STARTED, *TO_NOTHING)


@dataclass
class Pod:
    """One pod with one container.

    Args:
        number: among those of its turn.
        begun: when its turn began (perf_counter).

    Attributes:
        taken_ms: milliseconds of each step.
        after_ms: milliseconds from the beginning of its turn to the end of each step.
        held: what who takes it through its life remembers of it.
    """

    number: int
    begun: float
    taken_ms: dict[str, float] = field(default_factory=dict)
    after_ms: dict[str, float] = field(default_factory=dict)
    held: Any = None

    async def time(self, step: str, call: Awaitable[Result]) -> Result:
        """Await a step and note how long it took."""
        start = perf_counter()
        result = await call
        now = perf_counter()
        self.taken_ms[step] = (now - start) * 1000
        self.after_ms[step] = (now - self.begun) * 1000
        return result

    def sum_ms(self, steps: tuple[str, ...]) -> float:
        """Milliseconds of several steps together."""
        return sum(self.taken_ms[step] for step in steps)


class Runner(Protocol):
    """Who takes pods through their life."""

    async def start(self, pod: Pod) -> None:
        """As far as a started container."""

    async def end(self, pod: Pod) -> None:
        """Until nothing of it is left."""


@dataclass
class Server:
    """A CRI server, asked as kubelet asks.

    Args:
        runtime: connected to it.
        image: of the containers; it has it.
        logs: a directory for the logs of all pods.
        run: from :func:`benchmarks.prepare.new_run`.
    """

    runtime: RemoteRuntimeService
    image: str
    logs: Path
    run: str

    async def start(self, pod: Pod) -> None:
        config = pod_config(f"life-{new_run()}", self.run, False, self.logs)
        sandbox = await pod.time("RunPodSandbox", self.runtime.run_pod_sandbox(config))
        create = self.runtime.create_container(
            sandbox, container_config("c", self.image, config), config
        )
        container = await pod.time("CreateContainer", create)
        await pod.time("StartContainer", self.runtime.start_container(container))
        pod.held = sandbox, container

    async def end(self, pod: Pod) -> None:
        sandbox, container = pod.held
        await pod.time("StopContainer", self.runtime.stop_container(container, GRACE_S))
        await pod.time("StopPodSandbox", self.runtime.stop_pod_sandbox(sandbox))
        await pod.time("RemoveContainer", self.runtime.remove_container(container))
        await pod.time("RemovePodSandbox", self.runtime.remove_pod_sandbox(sandbox))


async def turn(runner: Runner, pods: int, at_a_time: int) -> list[Pod]:
    """Start pods, so many at a time, and when all have started, end them likewise.

    Raises:
        ServiceError: a step failed.
    """
    begun, limit = perf_counter(), anyio.CapacityLimiter(at_a_time)
    lives = [Pod(number, begun) for number in range(pods)]

    async def in_turn(stage: Callable[[Pod], Awaitable[None]], pod: Pod) -> None:
        async with limit:
            await stage(pod)

    for stage in (runner.start, runner.end):
        async with anyio.create_task_group() as tasks:
            for pod in lives:
                tasks.start_soon(in_turn, stage, pod)
    return lives
