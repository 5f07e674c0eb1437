"""ListContainers, from memory."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def list_containers(shim: Shim, request: cri.ListContainersRequest) -> bytes:
    """A whole ListContainersResponse."""
    if not request.HasField("filter"):
        return shim.store.list_containers()
    wanted = request.filter
    state = wanted.state.state if wanted.HasField("state") else None
    selected = shim.store.select_containers(wanted.id, state, wanted.pod_sandbox_id, wanted.label_selector)
    return b"".join([record.item_bytes for record in selected])
