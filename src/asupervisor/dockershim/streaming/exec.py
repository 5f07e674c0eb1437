"""Exec: prepare a command, and say where its streams are."""

from __future__ import annotations

from dataclasses import replace

from asupervisor.dockershim.preconditions import running_container
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri
from asupervisor.streaming.requests import ExecRequest


async def exec_(shim: Shim, request: cri.ExecRequest) -> cri.ExecResponse:
    """A URL under which the command runs once, within a minute.

    Raises:
        InvalidArgument: no command, no stream, or tty with stderr.
        NotFound: no such container.
        FailedPrecondition: it does not run.
        ResourceExhausted: too many URLs wait for their clients.
    """
    wanted = ExecRequest(
        container_id=request.container_id,
        command=tuple(request.cmd),
        tty=request.tty,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
    )
    wanted.check()
    record = running_container(shim.store, request.container_id, "exec")
    shim.engine.health.require("exec", record.id)
    # By its whole id: a part of it may name another container when the client comes.
    wanted = replace(wanted, container_id=record.id)
    return cri.ExecResponse(url=shim.streaming.url(wanted))
