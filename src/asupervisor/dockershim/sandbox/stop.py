"""StopPodSandbox: release the network, end the processes; repeatable, and never held up by a
checkpoint that is bad or gone.
"""

from __future__ import annotations

import logging

from asupervisor.dockershim.fields import sandbox_fields
from asupervisor.dockershim.sandbox.teardown import stop_processes, tear_down_network
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.translate.sandbox import pod_subject

_logger = logging.getLogger("asupervisor.dockershim.sandbox")


async def stop_pod_sandbox(
    shim: Shim, request: cri.StopPodSandboxRequest
) -> cri.StopPodSandboxResponse:
    """Stop a sandbox; one that is not there is stopped."""
    try:
        record = shim.store.sandbox(request.pod_sandbox_id)
    except NotFound:
        return cri.StopPodSandboxResponse()
    shim.engine.health.require("stop a pod sandbox", record.id)

    async def work() -> None:
        remember = await tear_down_network(shim, record.id)
        await shim.on_step("StopPodSandbox.released")
        await stop_processes(shim, record.id, remember)
        _logger.info(
            "%s stopped", pod_subject(record.status.metadata), extra=sandbox_fields(record)
        )

    await shim.operations.run(record.engine_name or record.id, "StopPodSandbox", work)
    return cri.StopPodSandboxResponse()
