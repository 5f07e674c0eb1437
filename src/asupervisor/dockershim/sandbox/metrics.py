"""ListMetricDescriptors, ListPodSandboxMetrics, StreamPodSandboxMetrics: cAdvisor's metrics, read
from the kernel.
"""

from __future__ import annotations

from asupervisor.dockershim.batches import streamed
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri
from asupervisor.stats.metric_descriptors import descriptors_response


async def list_metric_descriptors(shim: Shim, request: cri.ListMetricDescriptorsRequest) -> bytes:
    """A whole ListMetricDescriptorsResponse."""
    return descriptors_response()


async def list_pod_sandbox_metrics(shim: Shim, request: cri.ListPodSandboxMetricsRequest) -> bytes:
    """A whole ListPodSandboxMetricsResponse, of the sandboxes that are ready."""
    return b"".join(await _entries(shim, request))


async def _entries(
    shim: Shim, request: cri.ListPodSandboxMetricsRequest | cri.StreamPodSandboxMetricsRequest
) -> list[bytes]:
    ready = shim.store.select_sandboxes(state=cri.SANDBOX_READY)
    return await shim.stats.sandbox_metrics([record.id for record in ready])


stream_pod_sandbox_metrics = streamed(_entries)
