"""ListPodSandbox and StreamPodSandboxes, from memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asupervisor.dockershim.batches import batches
from asupervisor.dockershim.shim import Shim
from asupervisor.node.records import SandboxRecord
from asupervisor.proto import cri


async def list_pod_sandbox(shim: Shim, request: cri.ListPodSandboxRequest) -> bytes:
    """A whole ListPodSandboxResponse."""
    if not request.HasField("filter"):
        return shim.store.list_sandboxes()
    return shim.store.lists.join(
        [record.item_bytes for record in _selected(shim, request.filter)], cri.PodSandbox
    )


async def stream_pod_sandboxes(
    shim: Shim, request: cri.StreamPodSandboxesRequest
) -> AsyncIterator[bytes]:
    """The same in several messages."""
    for batch in batches([record.item_bytes for record in _selected(shim, request.filter)]):
        yield batch


def _selected(shim: Shim, wanted: cri.PodSandboxFilter) -> list[SandboxRecord]:
    state = wanted.state.state if wanted.HasField("state") else None
    return shim.store.select_sandboxes(wanted.id, state, wanted.label_selector)
