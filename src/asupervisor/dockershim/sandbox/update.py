"""UpdatePodSandboxResources: record the pod's new resources.

Before the call kubelet resizes the pod's cgroup, which contains those of the sandbox and the
containers. The sandbox's own process needs no change, so the figures are only recorded: the verbose
status shows them from then on, also after a restart."""

from __future__ import annotations

import logging
from dataclasses import replace

from asupervisor.dockershim.fields import sandbox_fields
from asupervisor.dockershim.operations import operation_key
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from asupervisor.translate.sandbox import pod_subject, resources_document

_logger = logging.getLogger(__name__)


async def update_pod_sandbox_resources(
    shim: Shim, request: cri.UpdatePodSandboxResourcesRequest
) -> cri.UpdatePodSandboxResourcesResponse:
    """Record a pod's new resources and overhead; what the request leaves out stays as it is.

    Raises:
        NotFound: no such sandbox.
        FailedPrecondition: it is not ready.
    """
    record = shim.store.sandbox(request.pod_sandbox_id)
    subject = pod_subject(record.status.metadata)

    async def work() -> None:
        if not shim.store.sandbox(record.id).ready:
            raise FailedPrecondition(
                f"{subject}: sandbox {record.id[:12]} is not ready; its resources cannot be"
                " changed",
                subject=record.id,
            )
        plugins = shim.hooks.plugins
        if plugins:
            await plugins.update_pod(request)
        changes = {}
        if request.HasField("resources"):
            changes["resources"] = resources_document(request.resources)
        if request.HasField("overhead"):
            changes["overhead"] = resources_document(request.overhead)
        if not await shim.checkpoints.amend(
            record.id, lambda kept: replace(kept, extra={**kept.extra, **changes})
        ):
            raise FailedPrecondition(
                f"{subject}: sandbox {record.id[:12]} has no checkpoint to keep its resources in",
                subject=record.id,
            )
        if plugins:
            await plugins.pod_updated(record.id)
        _logger.info("%s has new resources", subject, extra=sandbox_fields(record))

    action = f"UpdatePodSandboxResources {request.SerializeToString(deterministic=True).hex()}"
    await shim.operations.run(operation_key(record), action, work)
    return cri.UpdatePodSandboxResourcesResponse()
