"""PodSandboxStatus, from memory; verbose adds what the engine says now."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.dockershim.verbose import verbose_info
from asupervisor.proto import cri


async def pod_sandbox_status(shim: Shim, request: cri.PodSandboxStatusRequest) -> bytes:
    """A whole PodSandboxStatusResponse.

    Raises:
        NotFound: no such sandbox.
    """
    record = shim.store.sandbox(request.pod_sandbox_id)
    if not request.verbose:
        return record.status_bytes
    info = await verbose_info(shim, record.id, record.pid, {"runtime": record.runtime, "complete": record.complete})
    return record.status_bytes + cri.PodSandboxStatusResponse(info=info).SerializeToString()
