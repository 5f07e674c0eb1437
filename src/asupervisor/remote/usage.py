"""The RuntimeService's calls for statistics and metrics."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from asupervisor.proto import cri
from asupervisor.remote.service import RemoteService


class UsageCalls(RemoteService):
    """Usage of containers and pods. The lists take ``stream``, which asks for pieces where the
    server can give them.
    """

    async def container_stats(self, container_id: str) -> cri.ContainerStats:
        """Usage of one container.

        Raises:
            NotFound: there is no such container.
        """
        return (
            await self._call(
                "ContainerStats",
                cri.ContainerStatsRequest(container_id=container_id),
                cri.ContainerStatsResponse,
            )
        ).stats

    async def list_container_stats(
        self, filter: cri.ContainerStatsFilter | None = None, *, stream: bool = False
    ) -> list[cri.ContainerStats]:
        """Usage of every container that matches."""
        if (
            stream
            and (
                found := await self._collected(
                    "StreamContainerStats", self.stream_container_stats(filter)
                )
            )
            is not None
        ):
            return found
        return list(
            (
                await self._call(
                    "ListContainerStats",
                    cri.ListContainerStatsRequest(filter=filter),
                    cri.ListContainerStatsResponse,
                )
            ).stats
        )

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
        if (
            stream
            and (
                found := await self._collected(
                    "StreamPodSandboxStats", self.stream_pod_sandbox_stats(filter)
                )
            )
            is not None
        ):
            return found
        request = cri.ListPodSandboxStatsRequest(filter=filter)
        return list(
            (
                await self._call("ListPodSandboxStats", request, cri.ListPodSandboxStatsResponse)
            ).stats
        )

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
        request = cri.ListMetricDescriptorsRequest()
        return list(
            (
                await self._call(
                    "ListMetricDescriptors", request, cri.ListMetricDescriptorsResponse
                )
            ).descriptors
        )

    async def list_pod_sandbox_metrics(
        self, *, stream: bool = False
    ) -> list[cri.PodSandboxMetrics]:
        """Every metric of every pod."""
        if (
            stream
            and (
                found := await self._collected(
                    "StreamPodSandboxMetrics", self.stream_pod_sandbox_metrics()
                )
            )
            is not None
        ):
            return found
        request = cri.ListPodSandboxMetricsRequest()
        return list(
            (
                await self._call(
                    "ListPodSandboxMetrics", request, cri.ListPodSandboxMetricsResponse
                )
            ).pod_metrics
        )

    def stream_pod_sandbox_metrics(self) -> AsyncGenerator[cri.PodSandboxMetrics, None]:
        """Every metric of every pod, as it comes in."""
        request = cri.StreamPodSandboxMetricsRequest()
        return self._stream(
            "StreamPodSandboxMetrics",
            request,
            cri.StreamPodSandboxMetricsResponse,
            lambda piece: piece.pod_sandbox_metrics,
        )
