"""The client of a RuntimeService: one method for each of its RPCs."""

from __future__ import annotations

from asupervisor.proto import cri
from asupervisor.remote.containers import ContainerCalls
from asupervisor.remote.sandboxes import SandboxCalls
from asupervisor.remote.usage import UsageCalls


class RemoteRuntimeService(SandboxCalls, ContainerCalls, UsageCalls):
    """A RuntimeService somewhere else, as kubelet's RuntimeService interface has it.

    Every method raises a :class:`asupervisor.errors.ServiceError`: the subclass that the status
    code stands for, with method and endpoint in its message and the gRPC error as its cause. A
    method is cancelled by cancelling its task."""

    SERVICE = "RuntimeService"

    async def version(self) -> cri.VersionResponse:
        """Names and versions of the server."""
        # The version of kubelet's interface, which kubelet has always sent.
        return await self._call("Version", cri.VersionRequest(version="0.1.0"), cri.VersionResponse)

    async def status(self, verbose: bool = False) -> cri.StatusResponse:
        """Readiness of runtime and network, handlers and features; ``verbose`` fills ``info``."""
        return await self._call("Status", cri.StatusRequest(verbose=verbose), cri.StatusResponse)

    async def runtime_config(self) -> cri.RuntimeConfigResponse:
        """The runtime's settings: the cgroup driver."""
        request = cri.RuntimeConfigRequest()
        return await self._call("RuntimeConfig", request, cri.RuntimeConfigResponse)

    async def update_runtime_config(self, runtime_config: cri.RuntimeConfig) -> None:
        """Tell the runtime the node's pod CIDR."""
        request = cri.UpdateRuntimeConfigRequest(runtime_config=runtime_config)
        await self._call("UpdateRuntimeConfig", request, cri.UpdateRuntimeConfigResponse)
