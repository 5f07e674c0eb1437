"""How long the steps of a pod's life take, several pods at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import anyio

from asupervisor.remote import RemoteRuntimeService
from benchmarks.prepare import (
    AT_A_TIME,
    container_config,
    ensure_image,
    new_run,
    pod_config,
    removing,
)

_TIMEOUT_S = 120.0
# kubelet's least; a container that is stopped before its shell has set the trap takes all of it.
_GRACE_S = 2
Result = TypeVar("Result")

STEPS = (
    "CreatePod",
    "StatusPod",
    "CreateContainer",
    "StartContainer",
    "StatusContainer",
    "StopContainer",
    "RemoveContainer",
    "StopPod",
    "RemovePod",
)
"""In the order in which one pod goes through them; the names are those of critest's benchmarks."""


class Stopwatch:
    """Collects the seconds of each step."""

    def __init__(self) -> None:
        self.taken_s: dict[str, list[float]] = {step: [] for step in STEPS}

    async def time(self, step: str, call: Awaitable[Result]) -> Result:
        """Await a call and note how long it took; a call that fails is not noted."""
        start = perf_counter()
        result = await call
        self.taken_s[step].append(perf_counter() - start)
        return result


async def measure(
    endpoint: str, pods: int, image: str, host_network: bool
) -> dict[str, list[float]]:
    """Take ``pods`` pods with one container each through their life,
    :data:`benchmarks.prepare.AT_A_TIME` at a time.

    Returns:
        Seconds of each call by step.

    Raises:
        ServiceError: a step failed; the pods are removed.
    """
    await ensure_image(endpoint, image)
    watch, run = Stopwatch(), new_run()
    limit = anyio.CapacityLimiter(AT_A_TIME)
    with tempfile.TemporaryDirectory(prefix="asupervisor-benchmark-", dir="/var/tmp") as logs:
        async with (
            RemoteRuntimeService.connect(endpoint, _TIMEOUT_S) as runtime,
            removing(runtime, run),
        ):

            async def live(number: int) -> None:
                async with limit:
                    config = pod_config(f"life-{number}", run, host_network, Path(logs))
                    pod = await watch.time("CreatePod", runtime.run_pod_sandbox(config))
                    await watch.time("StatusPod", runtime.pod_sandbox_status(pod))
                    create = runtime.create_container(
                        pod, container_config("c", image, config), config
                    )
                    container = await watch.time("CreateContainer", create)
                    await watch.time("StartContainer", runtime.start_container(container))
                    await watch.time("StatusContainer", runtime.container_status(container))
                    await watch.time("StopContainer", runtime.stop_container(container, _GRACE_S))
                    await watch.time("RemoveContainer", runtime.remove_container(container))
                    await watch.time("StopPod", runtime.stop_pod_sandbox(pod))
                    await watch.time("RemovePod", runtime.remove_pod_sandbox(pod))

            async with anyio.create_task_group() as tasks:
                for number in range(pods):
                    tasks.start_soon(live, number)
    return watch.taken_s
