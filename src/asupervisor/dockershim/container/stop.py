"""StopContainer."""

from __future__ import annotations

import logging

from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import InvalidArgument, NotFound
from asupervisor.proto import cri

_logger = logging.getLogger("asupervisor.dockershim.container")
_LONGEST_GRACE_S = 1 << 30
"""Years; the engine turns seconds into nanoseconds of 64 bits."""


async def stop_container(
    shim: Shim, request: cri.StopContainerRequest
) -> cri.StopContainerResponse:
    """Stop a container: its stop signal, SIGKILL after the grace, which no caller's deadline cuts
    short; repeatable.
    """
    try:
        record = shim.store.container(request.container_id)
    except NotFound:
        return cri.StopContainerResponse()
    if not record.running:
        return cri.StopContainerResponse()
    shim.engine.health.require("stop a container", record.id)
    if request.timeout < 0:
        raise InvalidArgument(
            f"container {record.id[:12]}: the grace of StopContainer is negative", subject=record.id
        )
    grace_s = min(request.timeout, _LONGEST_GRACE_S)

    async def work() -> None:
        try:
            await shim.engine.containers.stop(record.id, grace_s)
        except NotFound:
            shim.feed.forget(record.id)
            return
        await shim.feed.refresh(record.id, after="die")
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
