"""ListPodSandbox and StreamPodSandboxes, from memory."""

from __future__ import annotations

from asupervisor.dockershim.batches import streamed
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def list_pod_sandbox(shim: Shim, request: cri.ListPodSandboxRequest) -> bytes:
    """A whole ListPodSandboxResponse."""
    if not request.HasField("filter"):
        return shim.store.list_sandboxes()
    return shim.store.lists.join(await _items(shim, request), cri.PodSandbox)


async def _items(
    shim: Shim, request: cri.ListPodSandboxRequest | cri.StreamPodSandboxesRequest
) -> list[bytes]:
    wanted = request.filter
    state = wanted.state.state if wanted.HasField("state") else None
    found = shim.store.select_sandboxes(wanted.id, state, wanted.label_selector)
    return [record.item_bytes for record in found]


stream_pod_sandboxes = streamed(_items)
