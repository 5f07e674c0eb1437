"""StopPodSandbox: release the network, end the processes; repeatable. A bad or missing checkpoint
never prevents it, and a failure of one part does not prevent the other.
"""

from __future__ import annotations

import logging

from asupervisor.dockershim.fields import sandbox_fields
from asupervisor.dockershim.operations import operation_key
from asupervisor.dockershim.sandbox.teardown import is_stopped, require_ended, stop_sandbox
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.translate.sandbox import pod_subject

_logger = logging.getLogger(__name__)


async def stop_pod_sandbox(
    shim: Shim, request: cri.StopPodSandboxRequest
) -> cri.StopPodSandboxResponse:
    """Stop a sandbox. One that does not exist counts as stopped; for one that is known to be
    stopped the engine is not asked.

    Raises:
        FailedPrecondition: the engine does not have it, and its process runs.
        ServiceError: its network could not be released, or something of it not be stopped; all
            parts are tried, and the message names all that failed.
    """
    try:
        record = shim.store.sandbox(request.pod_sandbox_id)
    except NotFound:
        await shim.orphans.require_ended(request.pod_sandbox_id)
        return cri.StopPodSandboxResponse()
    key = operation_key(record)
    if is_stopped(shim, record) and not any(
        under_way == key for under_way, _, _ in shim.operations.under_way
    ):
        await require_ended(shim, record.id)
        return cri.StopPodSandboxResponse()
    shim.engine.health.require("stop a pod sandbox", record.id)

    async def work() -> None:
        await require_ended(shim, record.id)
        now = shim.store.sandboxes.get(record.id)
        if now is None or is_stopped(shim, now):
            return
        await stop_sandbox(shim, record.id)
        _logger.info(
            "%s stopped", pod_subject(record.status.metadata), extra=sandbox_fields(record)
        )

    await shim.operations.run(key, "StopPodSandbox", work)
    return cri.StopPodSandboxResponse()
