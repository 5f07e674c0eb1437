"""ListContainers and StreamContainers, from memory."""

from __future__ import annotations

from asupervisor.dockershim.batches import streamed
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def list_containers(shim: Shim, request: cri.ListContainersRequest) -> bytes:
    """A whole ListContainersResponse."""
    if not request.HasField("filter"):
        return shim.store.list_containers()
    return shim.store.lists.join(await _items(shim, request), cri.Container)


async def _items(
    shim: Shim, request: cri.ListContainersRequest | cri.StreamContainersRequest
) -> list[bytes]:
    wanted = request.filter
    state = wanted.state.state if wanted.HasField("state") else None
    found = shim.store.select_containers(
        wanted.id, state, wanted.pod_sandbox_id, wanted.label_selector
    )
    return [record.item_bytes for record in found]


stream_containers = streamed(_items)
