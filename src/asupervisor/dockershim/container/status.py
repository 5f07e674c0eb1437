"""ContainerStatus, from memory; verbose adds what the engine says now."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.dockershim.verbose import verbose_info
from asupervisor.proto import cri


async def container_status(shim: Shim, request: cri.ContainerStatusRequest) -> bytes:
    """A whole ContainerStatusResponse.

    Raises:
        NotFound: no such container.
    """
    record = shim.store.container(request.container_id)
    if not request.verbose:
        return record.status_bytes
    facts = {
        "sandboxID": record.sandbox_id,
        "runtime": record.runtime,
        "engineLogPath": record.engine_log_path,
    }
    info = await verbose_info(shim, record.id, record.pid, facts)
    return record.status_bytes + cri.ContainerStatusResponse(info=info).SerializeToString()
