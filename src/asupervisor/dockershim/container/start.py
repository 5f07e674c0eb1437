"""StartContainer."""

from __future__ import annotations

import contextlib
import logging
import time

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.proto import cri

_logger = logging.getLogger("asupervisor.dockershim.container")


async def start_container(shim: Shim, request: cri.StartContainerRequest) -> cri.StartContainerResponse:
    """Start a container that was created.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it ran already, or the engine could not start it (the status then says ContainerCannotRun).
    """
    record = shim.store.container(request.container_id)
    shim.engine.health.require("start a container", record.id)

    async def work() -> None:
        now = shim.store.container(record.id)
        if now.status.state != cri.CONTAINER_CREATED:
            state = cri.ContainerState.Name(now.status.state)
            raise FailedPrecondition(f"container {record.id[:12]} is in state {state} and cannot be started", subject=record.id)
        started = time.monotonic()
        try:
            await shim.engine.containers.start(record.id)
        except ServiceError:
            # The status must tell what happened even where the caller does not keep the error.
            with contextlib.suppress(ServiceError):
                await shim.feed.refresh(record.id)
            raise
        await shim.on_step("StartContainer.started")
        await shim.feed.refresh(record.id)
        name = record.status.metadata.name
        extra = {"rpc": "StartContainer", "container": record.id, "duration_s": time.monotonic() - started}
        _logger.info("started container %s (%s)", name, record.id[:12], extra=extra)

    await shim.operations.run(record.engine_name or record.id, "StartContainer", work)
    return cri.StartContainerResponse()
