"""Repairs, after a start and after each gap in the events, what changed without this service.

Sandboxes that an earlier process left half-built are rolled back; addresses of living pods are
found again; the network plugin releases what belongs to no living pod.

After each wait the state is read again: each decision is made anew under the lock of what it
changes. What the engine lists and could not be read is not touched."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection
from functools import partial

import anyio
from anyio.abc import TaskStatus

from asupervisor.dockershim.operations import operation_key
from asupervisor.dockershim.sandbox.network import recorded_network
from asupervisor.dockershim.sandbox.teardown import network_released, remove_sandbox
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import ServiceError
from asupervisor.network.plugin import PodNetwork
from asupervisor.node.records import SandboxId, SandboxRecord
from asupervisor.translate.names import is_container_id
from asupervisor.translate.sandbox import pod_subject

_logger = logging.getLogger(__name__)


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
        await shim.image_files.clear()
    except ServiceError as error:
        _logger.warning(
            "what an earlier process made to read images could not be removed: %s", error
        )
    for sandbox_id in list(shim.store.sandboxes):
        record = _half_built(shim, sandbox_id)
        if record is not None and not _under_way(shim, record):
            await _roll_back(shim, record)
    for sandbox_id in list(shim.store.sandboxes):
        await _find_addresses(shim, sandbox_id)
    await shim.orphans.note()
    orphans = await shim.orphans.living(_only_kept(shim))
    await _sweep_checkpoints(shim, orphans)
    await _sweep_oci_files(shim)
    try:
        await shim.network.reconcile(_living(shim, orphans), partial(_gone, shim, orphans))
    except ServiceError as error:
        _logger.error("the pod network could not be cleaned up: %s", error)


def _half_built(shim: Shim, sandbox_id: str) -> SandboxRecord | None:
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    return record if record is not None and record.known_to_engine and not record.complete else None


def _only_kept(shim: Shim) -> list[str]:
    """Sandboxes of which only the checkpoint is left, even if that cannot be read."""
    kept = [record.id for record in shim.store.sandboxes.values() if not record.known_to_engine]
    return kept + [any_id for any_id in shim.checkpoints.corrupt if shim.store.absent(any_id)]


def _gone(shim: Shim, orphans: Collection[str], sandbox_id: str) -> bool:
    """Whether a sandbox is known to have no process. One that is being set up counts as living: the
    plugin must not release its address.

    Args:
        orphans: those that the engine does not have and that run.
    """
    if (
        not shim.store.containers_known.complete
        or sandbox_id in shim.store.unread
        or sandbox_id in orphans
    ):
        return False
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    return record is None or not (record.pid or _under_way(shim, record))


def _living(shim: Shim, orphans: Collection[str]) -> list[PodNetwork]:
    """The living pods with a network of their own, and those of which it is not known."""
    living = [
        recorded_network(record.id, record, shim.checkpoints.get(record.id))
        for record in shim.store.sandboxes.values()
        # A sandbox that runs may have no network any more, if its stop was cut short.
        if not network_released(shim, record.id) and not _gone(shim, orphans, record.id)
    ]
    unread = [
        recorded_network(record.id, record, shim.checkpoints.get(record.id))
        for record in shim.store.unread.values()
        if isinstance(record, SandboxRecord) and not record.host_network
    ]
    return living + unread


def _under_way(shim: Shim, record: SandboxRecord) -> bool:
    key = operation_key(record)
    return any(key == running for running, _, _ in shim.operations.under_way)


async def _find_addresses(shim: Shim, sandbox_id: str) -> None:
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    if record is None or record.host_network or not record.ready or record.status.network.ip:
        return
    network = recorded_network(record.id, record, shim.checkpoints.get(record.id))
    try:
        addresses = await shim.network.addresses(network)
    except ServiceError as error:
        _logger.warning(
            "no address was found for %s: %s", pod_subject(record.status.metadata), error
        )
        return
    if addresses and shim.store.sandboxes.get(record.id) is record:
        shim.feed.set_addresses(record.id, addresses)
        await _quietly(shim, record.id)


async def _roll_back(shim: Shim, found: SandboxRecord) -> None:
    subject = pod_subject(found.status.metadata)

    async def work() -> bool:
        # The call that made it may have finished while this waited for the lock.
        record = _half_built(shim, found.id)
        if record is None:
            return False
        await remove_sandbox(shim, record.id)
        return True

    try:
        rolled_back = await shim.operations.run(operation_key(found), "roll back", work)
    except ServiceError as error:
        _logger.error("%s was left incomplete and could not be rolled back: %s", subject, error)
        return
    if rolled_back:
        _logger.warning(
            "rolled back %s (%s), which an earlier process left incomplete", subject, found.id[:12]
        )


async def _sweep_checkpoints(shim: Shim, orphans: Collection[str]) -> None:
    """Remove unreadable checkpoints of sandboxes that the engine does not have: no stop would ever
    remove them. If such a sandbox still runs, its checkpoint stays, since it has the id.

    Args:
        orphans: those that run.
    """
    for sandbox_id, reason in list(shim.checkpoints.corrupt.items()):
        absent = shim.store.containers_known.complete and shim.store.absent(sandbox_id)
        if not absent or sandbox_id in orphans or not is_container_id(sandbox_id):
            continue
        try:
            removed = await shim.checkpoints.remove_corrupt(sandbox_id)
        except ServiceError as error:
            _logger.warning("%s", error)
            continue
        if removed:
            _logger.warning(
                "removed the checkpoint of sandbox %s, which is gone: %s", sandbox_id, reason
            )


async def _sweep_oci_files(shim: Shim) -> None:
    """Remove what plugins wanted of containers that are gone, whoever removed them."""
    for container_id in shim.oci.ids:
        if not shim.store.containers_known.complete or not shim.store.absent(container_id):
            continue
        # Refused while it runs without the engine, or the engine cannot be asked.
        with contextlib.suppress(ServiceError):
            await shim.orphans.require_ended(container_id)
            await shim.oci.remove(container_id)


async def _quietly(shim: Shim, sandbox_id: str) -> None:
    try:
        await shim.feed.refresh(sandbox_id)
    except ServiceError as error:
        _logger.warning("sandbox %s could not be read again: %s", sandbox_id[:12], error)
