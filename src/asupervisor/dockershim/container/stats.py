"""ContainerStats, ListContainerStats and StreamContainerStats, read from the kernel."""

from __future__ import annotations

from asupervisor.dockershim.batches import streamed
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def container_stats(shim: Shim, request: cri.ContainerStatsRequest) -> bytes:
    """A whole ContainerStatsResponse.

    Raises:
        NotFound: no such container.
    """
    return b"".join(
        await shim.stats.container_stats([shim.store.container(request.container_id).id])
    )


async def list_container_stats(shim: Shim, request: cri.ListContainerStatsRequest) -> bytes:
    """A whole ListContainerStatsResponse; what does not run has no usage but its layer."""
    return shim.store.lists.join(await _entries(shim, request), cri.ContainerStats)


async def _entries(
    shim: Shim, request: cri.ListContainerStatsRequest | cri.StreamContainerStatsRequest
) -> list[bytes]:
    if not request.HasField("filter"):
        return await shim.stats.container_stats()
    wanted = request.filter
    selected = shim.store.select_containers(
        wanted.id, None, wanted.pod_sandbox_id, wanted.label_selector
    )
    return await shim.stats.container_stats([record.id for record in selected])


stream_container_stats = streamed(_entries)
