"""What stopping, removing and rolling back a sandbox share: its network released, its processes ended."""

from __future__ import annotations

import logging
from dataclasses import replace

import anyio

from asupervisor.dockershim.network import recorded_network
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound, ServiceError
from asupervisor.translate.sandbox import STOP_GRACE_S

_logger = logging.getLogger("asupervisor.dockershim.sandbox")
_RELEASED = "network_released"


async def release_network(shim: Shim, sandbox_id: str) -> None:
    """Tear the pod's network down, once; what was released is remembered in the checkpoint, so that it is not done again.

    Raises:
        ServiceError: the network plugin could not; a repetition may.
    """
    checkpoint = shim.checkpoints.get(sandbox_id)
    record = shim.store.sandboxes.get(sandbox_id)  # type: ignore[call-overload]
    on_host_network = record.host_network if record is not None else checkpoint.host_network if checkpoint is not None else False
    if on_host_network or (checkpoint is not None and checkpoint.extra.get(_RELEASED)):
        return
    await shim.network.tear_down(recorded_network(sandbox_id, record, checkpoint))
    await shim.checkpoints.amend(sandbox_id, lambda kept: replace(kept, extra={**kept.extra, _RELEASED: True}))


async def stop_processes(shim: Shim, sandbox_id: str) -> None:
    """Kill what still runs in the sandbox (the CRI wants it forcibly terminated), then end the sandbox itself in order.

    Raises:
        ServiceError: the engine could not.
    """
    failures: list[ServiceError] = []

    async def stop(container_id: str, grace_s: int) -> None:
        try:
            await shim.engine.containers.stop(container_id, grace_s)
            await shim.feed.refresh(container_id)
        except NotFound:
            shim.feed.forget(container_id)
        except ServiceError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for container in shim.store.containers_of(sandbox_id):
            if container.running:
                tasks.start_soon(stop, container.id, 0)
    await stop(sandbox_id, STOP_GRACE_S)
    if failures:
        raise failures[0]
