"""ListContainers and StreamContainers, from memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asupervisor.dockershim.batches import batches
from asupervisor.dockershim.shim import Shim
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri


async def list_containers(shim: Shim, request: cri.ListContainersRequest) -> bytes:
    """A whole ListContainersResponse."""
    if not request.HasField("filter"):
        return shim.store.list_containers()
    return shim.store.lists.join(
        [record.item_bytes for record in _selected(shim, request.filter)], cri.Container
    )


async def stream_containers(
    shim: Shim, request: cri.StreamContainersRequest
) -> AsyncIterator[bytes]:
    """The same in several messages."""
    for batch in batches([record.item_bytes for record in _selected(shim, request.filter)]):
        yield batch


def _selected(shim: Shim, wanted: cri.ContainerFilter) -> list[ContainerRecord]:
    state = wanted.state.state if wanted.HasField("state") else None
    return shim.store.select_containers(
        wanted.id, state, wanted.pod_sandbox_id, wanted.label_selector
    )
