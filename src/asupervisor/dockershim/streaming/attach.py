"""Attach: say where a container's own streams are."""

from __future__ import annotations

from dataclasses import replace

from asupervisor.dockershim.preconditions import running_container
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri
from asupervisor.streaming.requests import AttachRequest


async def attach(shim: Shim, request: cri.AttachRequest) -> cri.AttachResponse:
    """A URL under which the container can be attached to once, within a minute.

    Raises:
        InvalidArgument: no stream, or tty with stderr.
        NotFound: no such container.
        FailedPrecondition: it does not run.
        ResourceExhausted: too many URLs wait for their clients.
    """
    wanted = AttachRequest(
        container_id=request.container_id,
        tty=request.tty,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
    )
    wanted.check()
    record = running_container(shim.store, request.container_id, "attach")
    shim.engine.health.require("attach", record.id)
    # By its whole id: a part of it may name another container when the client comes.
    wanted = replace(wanted, container_id=record.id)
    return cri.AttachResponse(url=shim.streaming.url(wanted))
