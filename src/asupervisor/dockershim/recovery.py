"""Putting right, after a start and after each gap, what happened while nobody looked.

Sandboxes that an earlier process left half-built are rolled back; addresses of living pods are
found again; the network plugin releases what belongs to no living pod."""

from __future__ import annotations

import logging
import re

import anyio
from anyio.abc import TaskStatus

from asupervisor.dockershim.network import recorded_network
from asupervisor.dockershim.sandbox.teardown import remove_sandbox
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import ServiceError
from asupervisor.network.plugin import PodNetwork
from asupervisor.node.records import SandboxRecord
from asupervisor.translate.sandbox import pod_subject

_logger = logging.getLogger("asupervisor.dockershim.recovery")
_SANDBOX_ID = re.compile(r"[0-9a-f]{64}$")


async def run_recovery(
    shim: Shim, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Recover after each full reading of the node, until cancelled."""
    task_status.started()
    seen = 0
    while True:
        resynced = shim.feed.resynced
        if shim.feed.resyncs == seen:
            await resynced.wait()
        seen = shim.feed.resyncs
        await recover(shim)


async def recover(shim: Shim) -> None:
    """One pass; what fails is logged and tried again after the next gap."""
    try:
        await shim.accounts.clear()
    except ServiceError as error:
        _logger.warning(
            "what an earlier process made to read images could not be removed: %s", error
        )
    for record in list(shim.store.sandboxes.values()):
        if record.known_to_engine and not record.complete and not _under_way(shim, record):
            await _roll_back(shim, record)
    await _sweep_checkpoints(shim)
    living: list[PodNetwork] = []
    for record in list(shim.store.sandboxes.values()):
        # One that is being set up right now lives too: the plugin must not take its address for a
        # leak.
        if record.host_network or not (record.pid or _under_way(shim, record)):
            continue
        network = recorded_network(record.id, record, shim.checkpoints.get(record.id))
        living.append(network)
        if record.ready and not record.status.network.ip:
            try:
                addresses = await shim.network.addresses(network)
            except ServiceError as error:
                _logger.warning(
                    "no address was found for %s: %s", pod_subject(record.status.metadata), error
                )
                continue
            if addresses:
                shim.feed.set_addresses(record.id, addresses)
                await _quietly(shim, record.id)
    try:
        await shim.network.reconcile(living)
    except ServiceError as error:
        _logger.error("the pod network could not be put in order: %s", error)


def _under_way(shim: Shim, record: SandboxRecord) -> bool:
    # After a name conflict the engine's name has one part more than the key of the operation that
    # makes it.
    return any(
        record.engine_name == key or record.engine_name.startswith(f"{key}_")
        for key, _, _ in shim.operations.under_way
    )


async def _roll_back(shim: Shim, record: SandboxRecord) -> None:
    async def work() -> None:
        await remove_sandbox(shim, record.id)

    try:
        await shim.operations.run(record.engine_name, "roll back", work)
    except ServiceError as error:
        _logger.error(
            "%s was left half-built and could not be rolled back: %s",
            pod_subject(record.status.metadata),
            error,
        )
        return
    _logger.warning(
        "rolled back %s (%s), which an earlier process left half-built",
        pod_subject(record.status.metadata),
        record.id[:12],
    )


async def _sweep_checkpoints(shim: Shim) -> None:
    """A checkpoint that cannot be read, of a sandbox that the engine does not have, tells nobody
    anything: no stop would ever clear it.
    """
    for sandbox_id, reason in list(shim.checkpoints.corrupt.items()):
        if sandbox_id in shim.store.sandboxes or not _SANDBOX_ID.match(sandbox_id):
            continue
        try:
            await shim.checkpoints.remove(sandbox_id)
        except ServiceError as error:
            _logger.warning("%s", error)
            continue
        _logger.warning(
            "removed the checkpoint of sandbox %s, which is gone: %s", sandbox_id, reason
        )


async def _quietly(shim: Shim, sandbox_id: str) -> None:
    try:
        await shim.feed.refresh(sandbox_id)
    except ServiceError as error:
        _logger.warning("sandbox %s could not be read again: %s", sandbox_id[:12], error)
