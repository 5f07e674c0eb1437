"""RemovePodSandbox: its containers, its network, its own container, its checkpoint, in this order;
repeatable.
"""

from __future__ import annotations

import logging

from asupervisor.dockershim.container.remove import remove_engine_container
from asupervisor.dockershim.fields import sandbox_fields
from asupervisor.dockershim.sandbox.teardown import release_network
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.translate.sandbox import pod_subject

_logger = logging.getLogger("asupervisor.dockershim.sandbox")


async def remove_pod_sandbox(
    shim: Shim, request: cri.RemovePodSandboxRequest
) -> cri.RemovePodSandboxResponse:
    """Remove a sandbox and its containers; one that is not there is removed."""
    try:
        record = shim.store.sandbox(request.pod_sandbox_id)
    except NotFound:
        return cri.RemovePodSandboxResponse()
    shim.engine.health.require("remove a pod sandbox", record.id)

    async def work() -> None:
        for container in shim.store.containers_of(record.id):
            await remove_engine_container(shim, container)
        await release_network(shim, record.id)
        await shim.on_step("RemovePodSandbox.released")
        await shim.engine.containers.remove(record.id, force=True)
        await shim.on_step("RemovePodSandbox.removed")
        # Last: as long as it is there, a crash in between leaves the sandbox visible.
        await shim.checkpoints.remove(record.id)
        shim.feed.forget(record.id)
        _logger.info(
            "%s removed", pod_subject(record.status.metadata), extra=sandbox_fields(record)
        )

    await shim.operations.run(record.engine_name or record.id, "RemovePodSandbox", work)
    return cri.RemovePodSandboxResponse()
