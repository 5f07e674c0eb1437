"""Pods that come and go through a service that faults befall, as kubelet has them: what fails is
tried again, and what nobody knows the end of is looked up.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import anyio

from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until

_CALL_S = 30.0


async def churn(endpoint: str, worker: int, pods: int, done: list[str]) -> None:
    """Take pods through their life one after the other; a step that fails leaves the rest of that
    pod's life to :func:`clear`.

    Args:
        endpoint: of the service.
        worker: part of the pods' names.
        pods: how many.
        done: the names of pods that went all the way.
    """
    for number in range(pods):
        name = f"churn-{worker}-{number}"
        await until(lambda: is_ready(endpoint), "the node is ready", 60)
        with contextlib.suppress(ServiceError):
            async with RemoteRuntimeService.connect(endpoint, _CALL_S) as runtime:
                pod = pod_config(name)
                sandbox = await runtime.run_pod_sandbox(pod)
                container = await runtime.create_container(sandbox, container_config(), pod)
                await runtime.start_container(container)
                await runtime.stop_container(container, 5)
                await runtime.stop_pod_sandbox(sandbox)
                await runtime.remove_pod_sandbox(sandbox)
                done.append(name)


async def is_ready(endpoint: str) -> bool:
    """Whether the service answers and says that the node is ready."""
    try:
        async with RemoteRuntimeService.connect(endpoint, _CALL_S) as runtime:
            conditions = (await runtime.status()).status.conditions
    except ServiceError:
        return False
    return all(condition.status for condition in conditions)


async def clear(runtime: RemoteRuntimeService) -> None:
    """Remove every pod, as kubelet does with pods that nobody wants; no call may fail now."""

    async def gone() -> bool:
        listed = await runtime.list_pod_sandbox()
        for sandbox in listed:
            await runtime.stop_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)
        return not listed

    await until(gone, "all pods are gone", 60)


async def agrees(runtime: RemoteRuntimeService, engine: Engine) -> bool:
    """Whether the service lists what the engine has, in the same states, and besides at most
    sandboxes that are gone and whose network is still to be torn down: NOTREADY.
    """
    try:
        sandboxes = {
            item.id: item.state == cri.SANDBOX_READY for item in await runtime.list_pod_sandbox()
        }
        containers = {
            item.id: item.state == cri.CONTAINER_RUNNING for item in await runtime.list_containers()
        }
    except ServiceError:
        return False
    there = await anyio.to_thread.run_sync(engine.containers)
    states = {item["Id"]: item["State"] == "running" for item in there}
    gone = {one for one, ready in sandboxes.items() if not ready and one not in states}
    listed = sandboxes | containers
    return {one: state for one, state in listed.items() if one not in gone} == states


def checkpoints(root: Path) -> list[str]:
    """Names of the sandbox checkpoints below a root directory."""
    return sorted(path.name for path in (root / "sandbox").iterdir())
