"""CheckpointContainer: refused, with the reason that holds for this engine."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, InvalidArgument, Unimplemented
from asupervisor.proto import cri


async def checkpoint_container(shim: Shim, request: cri.CheckpointContainerRequest) -> cri.CheckpointContainerResponse:
    """Refuse a checkpoint: the engine writes CRIU's raw images to a directory, the CRI wants an archive that another node can restore.

    Raises:
        NotFound: no such container.
        InvalidArgument: the request names no location, or a relative one.
        FailedPrecondition: the container does not run.
        Unimplemented: always, otherwise.
    """
    record = shim.store.container(request.container_id)
    if not request.location.startswith("/"):
        raise InvalidArgument(f'container {record.id[:12]}: the location "{request.location}" of a checkpoint must be an absolute path')
    if request.timeout < 0:
        raise InvalidArgument(f"container {record.id[:12]}: the timeout of a checkpoint is negative")
    if not record.running:
        state = cri.ContainerState.Name(record.status.state)
        raise FailedPrecondition(f"container {record.id[:12]} is in state {state}; only a running one has a checkpoint", subject=record.id)
    raise Unimplemented(
        f"container {record.id[:12]}: Docker Engine {shim.engine.version.get('Version', '')} cannot write a checkpoint archive as the CRI "
        "has it; its own checkpoints are an experimental feature with a format that no CRI runtime restores",
        subject=record.id,
    )
