"""The RuntimeService's calls for pod sandboxes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress

from asupervisor.errors import Unimplemented
from asupervisor.proto import cri
from asupervisor.remote.service import RemoteService, collected


class SandboxCalls(RemoteService):
    """Calls for pod sandboxes. ``proto/runtime/v1/api.proto`` says what each RPC means."""

    async def run_pod_sandbox(self, config: cri.PodSandboxConfig, runtime_handler: str = "") -> str:
        """Make a sandbox and return its id. ``runtime_handler``: empty for the runtime's
        default.
        """
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=runtime_handler)
        answer = await self._call("RunPodSandbox", request, cri.RunPodSandboxResponse)
        return answer.pod_sandbox_id

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        """Stop the sandbox and what runs in it; one that is stopped or gone is a success."""
        request = cri.StopPodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        await self._call("StopPodSandbox", request, cri.StopPodSandboxResponse)

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        """Remove the sandbox and its containers; one that is gone is a success."""
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        await self._call("RemovePodSandbox", request, cri.RemovePodSandboxResponse)

    async def pod_sandbox_status(
        self, pod_sandbox_id: str, verbose: bool = False
    ) -> cri.PodSandboxStatusResponse:
        """One sandbox's status; ``verbose`` fills ``info``.

        Raises:
            NotFound: there is no such sandbox.
        """
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=pod_sandbox_id, verbose=verbose)
        return await self._call("PodSandboxStatus", request, cri.PodSandboxStatusResponse)

    async def list_pod_sandbox(
        self, filter: cri.PodSandboxFilter | None = None, *, stream: bool = False
    ) -> list[cri.PodSandbox]:
        """Sandboxes that match; ``stream`` asks for them in pieces where the server can, for
        answers beyond 16 MiB.
        """
        if stream and self._has("StreamPodSandboxes"):
            with suppress(Unimplemented):
                return await collected(self.stream_pod_sandboxes(filter))
        request = cri.ListPodSandboxRequest(filter=filter)
        answer = await self._call("ListPodSandbox", request, cri.ListPodSandboxResponse)
        return list(answer.items)

    def stream_pod_sandboxes(
        self, filter: cri.PodSandboxFilter | None = None
    ) -> AsyncGenerator[cri.PodSandbox, None]:
        """Sandboxes that match, as they come in."""
        return self._stream(
            "StreamPodSandboxes",
            cri.StreamPodSandboxesRequest(filter=filter),
            cri.StreamPodSandboxesResponse,
            lambda piece: piece.pod_sandboxes,
        )

    async def update_pod_sandbox_resources(
        self,
        pod_sandbox_id: str,
        overhead: cri.LinuxContainerResources | None = None,
        resources: cri.LinuxContainerResources | None = None,
    ) -> None:
        """Tell the runtime of a pod's new resources, after its cgroup was resized."""
        request = cri.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=pod_sandbox_id, overhead=overhead, resources=resources
        )
        await self._call(
            "UpdatePodSandboxResources", request, cri.UpdatePodSandboxResourcesResponse
        )

    async def port_forward(self, pod_sandbox_id: str, ports: Sequence[int] = ()) -> str:
        """Prepare a tunnel into the sandbox's network and return its URL. ``ports``: for WebSocket
        clients.
        """
        request = cri.PortForwardRequest(pod_sandbox_id=pod_sandbox_id, port=ports)
        return (await self._call("PortForward", request, cri.PortForwardResponse)).url

    async def checkpoint_pod(
        self,
        pod_sandbox_id: str,
        output_path: str,
        container_ids: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Write the pod's state to ``output_path`` on the server's node; no ids: all of its
        containers.
        """
        request = cri.CheckpointPodRequest(
            pod_sandbox_id=pod_sandbox_id,
            output_path=output_path,
            container_ids=container_ids,
            options=options or {},
        )
        await self._call("CheckpointPod", request, cri.CheckpointPodResponse)

    async def restore_pod(
        self,
        checkpoint_path: str,
        config: cri.PodSandboxConfig,
        runtime_handler: str = "",
        options: Mapping[str, str] | None = None,
        container_configs: Sequence[cri.ContainerConfig] = (),
    ) -> cri.RestorePodResponse:
        """Make a pod from what :meth:`checkpoint_pod` wrote; the answer has the new ids."""
        request = cri.RestorePodRequest(
            checkpoint_path=checkpoint_path,
            config=config,
            runtime_handler=runtime_handler,
            options=options or {},
            container_configs=container_configs,
        )
        return await self._call("RestorePod", request, cri.RestorePodResponse)
