"""StopContainer."""

from __future__ import annotations

import logging

from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.operations import Closing
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from asupervisor.node.records import ContainerId, ContainerRecord
from asupervisor.proto import cri

_logger = logging.getLogger(__name__)
_LONGEST_GRACE_S = 1 << 30
"""Seconds, 34 years: the engine converts them to nanoseconds in 64 bits."""
_AFTER_ENGINE_S = 30.0
"""Seconds that a change may take longer than the engine's own deadline."""


async def stop_container(
    shim: Shim, request: cri.StopContainerRequest
) -> cri.StopContainerResponse:
    """Stop a container: its stop signal, SIGKILL after the grace, which no caller's deadline cuts
    short; repeatable. A start that is under way is stopped with it.

    Raises:
        FailedPrecondition: the engine does not have it, and its process runs.
        Unavailable: it runs again.
        DeadlineExceeded: a start of it does not come to its end.
    """
    try:
        record = shim.store.container(request.container_id)
    except NotFound:
        await shim.orphans.require_ended(request.container_id)
        return cri.StopContainerResponse()
    if not may_run(shim, record):
        return cri.StopContainerResponse()
    shim.engine.health.require("stop a container", record.id)
    if request.timeout < 0:
        raise InvalidArgument(
            f"container {record.id[:12]}: the grace of StopContainer is negative", subject=record.id
        )
    grace_s = min(request.timeout, _LONGEST_GRACE_S)

    async def work() -> None:
        await end_container(shim, record.id, grace_s)
        if record.id in shim.store.containers:
            _logger.info(
                "stopped container %s (%s)",
                record.status.metadata.name,
                record.id[:12],
                extra=container_fields(shim, record),
            )

    # A shorter grace than the one under way must not wait for it, so the grace is part of what is
    # joined, and no lock is shared.
    await shim.operations.run(f"{record.id}/stop/{grace_s}", "StopContainer", work)
    return cri.StopContainerResponse()


def may_run(shim: Shim, record: ContainerRecord) -> bool:
    """Whether a container may run: it runs, is being started, was perhaps started by a call whose
    end was not seen, or has changed and was not read since.
    """
    return (
        record.running
        or shim.feed.unsettled(record.id)
        or shim.operations.pending(record.id)
        or shim.operations.doubtful(record)
    )


async def end_container(shim: Shim, container_id: str, grace_s: int) -> None:
    """Stop a container and see that it does not run.

    Raises:
        ServiceError: the engine could not, or it runs still.
    """
    reason = f"container {container_id[:12]} is being stopped"
    with shim.operations.closing(container_id, reason) as closing:
        # The engine does this after a start that it works on. A start that reaches it later has
        # ended when that call is answered.
        await _stop(shim, container_id, grace_s)
        await wait_for(shim, closing, container_id)
        if _runs(shim, container_id):
            await _stop(shim, container_id, grace_s)
        if _runs(shim, container_id):
            raise Unavailable(
                f"container {container_id[:12]} runs although it was stopped; it was started again",
                subject=container_id,
            )
    await shim.hooks.stopped(container_id)


async def wait_for(shim: Shim, closing: Closing, subject: str) -> None:
    """Wait for the changes that the engine was asked for before something was closed.

    Raises:
        DeadlineExceeded: one of them outlives the engine's own deadline.
    """
    patience_s = shim.engine.session.timeout_s + _AFTER_ENGINE_S
    if closing.under_way and not await closing.ended(patience_s):
        raise DeadlineExceeded(
            f"a change of {subject[:12]} that is under way did not end within {patience_s:g} s",
            subject=subject,
        )


async def _stop(shim: Shim, container_id: str, grace_s: int) -> None:
    try:
        await shim.engine.containers.stop(container_id, grace_s)
        await shim.feed.refresh(container_id, after="die")
    except NotFound:
        shim.feed.forget(container_id)
        await shim.orphans.require_ended(container_id)
    except FailedPrecondition:
        # For example it is being removed; it only matters whether it runs.
        await shim.feed.refresh(container_id)
        if _runs(shim, container_id):
            raise


def _runs(shim: Shim, container_id: str) -> bool:
    record = shim.store.containers.get(ContainerId(container_id))
    return record is not None and record.running
