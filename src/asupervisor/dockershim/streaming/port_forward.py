"""PortForward: say where a sandbox's ports can be reached."""

from __future__ import annotations

from dataclasses import replace

from asupervisor.dockershim.preconditions import ready_sandbox
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri
from asupervisor.streaming.requests import PortForwardRequest


async def port_forward(shim: Shim, request: cri.PortForwardRequest) -> cri.PortForwardResponse:
    """A URL under which connections to the sandbox can be made once, within a minute.

    Raises:
        InvalidArgument: a port is out of range.
        NotFound: no such sandbox.
        FailedPrecondition: it is not ready.
        ResourceExhausted: too many URLs wait for their clients.
    """
    wanted = PortForwardRequest(pod_sandbox_id=request.pod_sandbox_id, ports=tuple(request.port))
    wanted.check()
    record = ready_sandbox(shim.store, request.pod_sandbox_id)
    # By its whole id: a part of it may name another sandbox when the client comes.
    wanted = replace(wanted, pod_sandbox_id=record.id)
    return cri.PortForwardResponse(url=shim.streaming.url(wanted))
