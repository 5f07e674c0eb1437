"""What stopping, removing and rolling back a sandbox share: its network released, its processes
ended.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import anyio

from asupervisor.dockershim.network import recorded_network
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound, ServiceError
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.sandbox import STOP_GRACE_S

_logger = logging.getLogger("asupervisor.dockershim.sandbox")
_RELEASED = "network_released"

Remember = Callable[[], Awaitable[object]]
"""Writes into the checkpoint that the network was torn down, so that it is not done again. A kill
before that has it done once more.
"""


async def release_network(shim: Shim, sandbox_id: str) -> None:
    """Tear the pod's network down, once, and remember it.

    Raises:
        ServiceError: the network plugin could not; a repetition may.
    """
    remember = await tear_down_network(shim, sandbox_id)
    await remember()


async def tear_down_network(shim: Shim, sandbox_id: str) -> Remember:
    """Tear the pod's network down, unless that was done; the caller has it remembered.

    Raises:
        ServiceError: the network plugin could not; a repetition may.
    """
    checkpoint = shim.checkpoints.get(sandbox_id)
    record = shim.store.sandboxes.get(sandbox_id)  # type: ignore[call-overload]
    on_host_network = (
        record.host_network
        if record is not None
        else checkpoint.host_network
        if checkpoint is not None
        else False
    )
    if on_host_network or (checkpoint is not None and checkpoint.extra.get(_RELEASED)):
        return _nothing
    await shim.network.tear_down(recorded_network(sandbox_id, record, checkpoint))
    return partial(shim.checkpoints.amend, sandbox_id, _as_released)


def _as_released(kept: Checkpoint) -> Checkpoint:
    return replace(kept, extra={**kept.extra, _RELEASED: True})


async def _nothing() -> None:
    """Nothing was torn down."""


async def stop_processes(shim: Shim, sandbox_id: str, remember: Remember) -> None:
    """Kill what still runs in the sandbox (the CRI wants it forcibly terminated), then end the
    sandbox itself in order.

    Args:
        remember: done meanwhile, since a checkpoint can take the disk tens of milliseconds.

    Raises:
        ServiceError: the engine could not, or the checkpoint cannot be written.
    """
    failures: list[ServiceError] = []

    async def write() -> None:
        try:
            await remember()
        except ServiceError as error:
            failures.append(error)

    async def stop(container_id: str, grace_s: int) -> None:
        try:
            await shim.engine.containers.stop(container_id, grace_s)
            await shim.feed.refresh(container_id, after="die")
        except NotFound:
            shim.feed.forget(container_id)
        except ServiceError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        async with anyio.create_task_group() as containers:
            for container in shim.store.containers_of(sandbox_id):
                if container.running:
                    containers.start_soon(stop, container.id, 0)
        await stop(sandbox_id, STOP_GRACE_S)
    if failures:
        raise failures[0]
