"""ListPodSandbox, from memory."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def list_pod_sandbox(shim: Shim, request: cri.ListPodSandboxRequest) -> bytes:
    """A whole ListPodSandboxResponse."""
    if not request.HasField("filter"):
        return shim.store.list_sandboxes()
    wanted = request.filter
    state = wanted.state.state if wanted.HasField("state") else None
    return b"".join([record.item_bytes for record in shim.store.select_sandboxes(wanted.id, state, wanted.label_selector)])
