"""RemovePodSandbox: its containers, network, own container and checkpoint, in this order."""

from __future__ import annotations

import logging

from asupervisor.dockershim.fields import sandbox_fields
from asupervisor.dockershim.operations import operation_key
from asupervisor.dockershim.sandbox.teardown import remove_sandbox
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.translate.sandbox import pod_subject

_logger = logging.getLogger(__name__)


async def remove_pod_sandbox(
    shim: Shim, request: cri.RemovePodSandboxRequest
) -> cri.RemovePodSandboxResponse:
    """Remove a sandbox and its containers; one that is not there is removed.

    Raises:
        FailedPrecondition: the engine does not have it, and its process runs.
        ServiceError: something of it could not be removed; the rest is, and the sandbox stays
            visible as not ready.
    """
    try:
        record = shim.store.sandbox(request.pod_sandbox_id)
    except NotFound:
        await shim.orphans.require_ended(request.pod_sandbox_id)
        return cri.RemovePodSandboxResponse()
    shim.engine.health.require("remove a pod sandbox", record.id)

    async def work() -> None:
        await remove_sandbox(shim, record.id)
        _logger.info(
            "%s removed", pod_subject(record.status.metadata), extra=sandbox_fields(record)
        )

    await shim.operations.run(operation_key(record), "RemovePodSandbox", work)
    return cri.RemovePodSandboxResponse()
