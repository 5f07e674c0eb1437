"""CheckpointPod and RestorePod: refused."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import InvalidArgument, Unimplemented
from asupervisor.proto import cri

_REASON = "Docker Engine has no checkpoint of several containers and their shared namespaces"


async def checkpoint_pod(
    shim: Shim, request: cri.CheckpointPodRequest
) -> cri.CheckpointPodResponse:
    """Refuse a pod's checkpoint.

    Raises:
        NotFound: no such sandbox, or no such container in it.
        Unimplemented: always, otherwise.
    """
    record = shim.store.sandbox(request.pod_sandbox_id)
    for container_id in request.container_ids:
        if shim.store.container(container_id).sandbox_id != record.id:
            raise InvalidArgument(
                f"container {container_id[:12]} is not in pod sandbox {record.id[:12]}",
                subject=container_id,
            )
    raise Unimplemented(
        f"pod sandbox {record.id[:12]} cannot be written to {request.output_path}: {_REASON}",
        subject=record.id,
    )


async def restore_pod(shim: Shim, request: cri.RestorePodRequest) -> cri.RestorePodResponse:
    """Refuse to restore a pod.

    Raises:
        Unimplemented: always.
    """
    raise Unimplemented(f"a pod cannot be restored from {request.checkpoint_path}: {_REASON}")
