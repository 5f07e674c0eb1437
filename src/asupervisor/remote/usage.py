"""The RuntimeService's calls for statistics and metrics."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress

from asupervisor.errors import Unimplemented
from asupervisor.proto import cri
from asupervisor.remote.service import RemoteService, collected


class UsageCalls(RemoteService):
    """Calls for the usage of containers and pods. With ``stream`` a list is asked for in pieces, if
    the server can.
    """

    async def container_stats(self, container_id: str) -> cri.ContainerStats:
        """Usage of one container.

        Raises:
            NotFound: there is no such container.
        """
        request = cri.ContainerStatsRequest(container_id=container_id)
        return (await self._call("ContainerStats", request, cri.ContainerStatsResponse)).stats

    async def list_container_stats(
        self, filter: cri.ContainerStatsFilter | None = None, *, stream: bool = False
    ) -> list[cri.ContainerStats]:
        """Usage of every container that matches."""
        if stream and self._has("StreamContainerStats"):
            with suppress(Unimplemented):
                return await collected(self.stream_container_stats(filter))
        request = cri.ListContainerStatsRequest(filter=filter)
        answer = await self._call("ListContainerStats", request, cri.ListContainerStatsResponse)
        return list(answer.stats)

    def stream_container_stats(
        self, filter: cri.ContainerStatsFilter | None = None
    ) -> AsyncGenerator[cri.ContainerStats, None]:
        """Usage of every container that matches, as it comes in."""
        request = cri.StreamContainerStatsRequest(filter=filter)
        return self._stream(
            "StreamContainerStats",
            request,
            cri.StreamContainerStatsResponse,
            lambda piece: piece.container_stats,
        )

    async def pod_sandbox_stats(self, pod_sandbox_id: str) -> cri.PodSandboxStats:
        """Usage of one pod.

        Raises:
            NotFound: there is no such sandbox.
        """
        request = cri.PodSandboxStatsRequest(pod_sandbox_id=pod_sandbox_id)
        return (await self._call("PodSandboxStats", request, cri.PodSandboxStatsResponse)).stats

    async def list_pod_sandbox_stats(
        self, filter: cri.PodSandboxStatsFilter | None = None, *, stream: bool = False
    ) -> list[cri.PodSandboxStats]:
        """Usage of every pod that matches."""
        if stream and self._has("StreamPodSandboxStats"):
            with suppress(Unimplemented):
                return await collected(self.stream_pod_sandbox_stats(filter))
        request = cri.ListPodSandboxStatsRequest(filter=filter)
        answer = await self._call("ListPodSandboxStats", request, cri.ListPodSandboxStatsResponse)
        return list(answer.stats)

    def stream_pod_sandbox_stats(
        self, filter: cri.PodSandboxStatsFilter | None = None
    ) -> AsyncGenerator[cri.PodSandboxStats, None]:
        """Usage of every pod that matches, as it comes in."""
        request = cri.StreamPodSandboxStatsRequest(filter=filter)
        return self._stream(
            "StreamPodSandboxStats",
            request,
            cri.StreamPodSandboxStatsResponse,
            lambda piece: piece.pod_sandbox_stats,
        )

    async def list_metric_descriptors(self) -> list[cri.MetricDescriptor]:
        """The metrics that :meth:`list_pod_sandbox_metrics` gives."""
        request, answer_type = cri.ListMetricDescriptorsRequest(), cri.ListMetricDescriptorsResponse
        answer = await self._call("ListMetricDescriptors", request, answer_type)
        return list(answer.descriptors)

    async def list_pod_sandbox_metrics(
        self, *, stream: bool = False
    ) -> list[cri.PodSandboxMetrics]:
        """Every metric of every pod."""
        if stream and self._has("StreamPodSandboxMetrics"):
            with suppress(Unimplemented):
                return await collected(self.stream_pod_sandbox_metrics())
        request, answer_type = cri.ListPodSandboxMetricsRequest(), cri.ListPodSandboxMetricsResponse
        answer = await self._call("ListPodSandboxMetrics", request, answer_type)
        return list(answer.pod_metrics)

    def stream_pod_sandbox_metrics(self) -> AsyncGenerator[cri.PodSandboxMetrics, None]:
        """Every metric of every pod, as it comes in."""
        request = cri.StreamPodSandboxMetricsRequest()
        return self._stream(
            "StreamPodSandboxMetrics",
            request,
            cri.StreamPodSandboxMetricsResponse,
            lambda piece: piece.pod_sandbox_metrics,
        )
