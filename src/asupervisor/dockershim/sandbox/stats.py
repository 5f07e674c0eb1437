"""PodSandboxStats, ListPodSandboxStats and StreamPodSandboxStats, read from the kernel."""

from __future__ import annotations

from asupervisor.dockershim.batches import streamed
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def pod_sandbox_stats(shim: Shim, request: cri.PodSandboxStatsRequest) -> bytes:
    """A whole PodSandboxStatsResponse; for a sandbox that is not ready it has what is known.

    Raises:
        NotFound: no such sandbox.
    """
    return b"".join(await shim.stats.sandbox_stats([shim.store.sandbox(request.pod_sandbox_id).id]))


async def list_pod_sandbox_stats(shim: Shim, request: cri.ListPodSandboxStatsRequest) -> bytes:
    """A whole ListPodSandboxStatsResponse, of the sandboxes that are ready."""
    return shim.store.lists.join(await _entries(shim, request), cri.PodSandboxStats)


async def _entries(
    shim: Shim, request: cri.ListPodSandboxStatsRequest | cri.StreamPodSandboxStatsRequest
) -> list[bytes]:
    wanted = request.filter
    selected = shim.store.select_sandboxes(wanted.id, cri.SANDBOX_READY, wanted.label_selector)
    return await shim.stats.sandbox_stats([record.id for record in selected])


stream_pod_sandbox_stats = streamed(_entries)
