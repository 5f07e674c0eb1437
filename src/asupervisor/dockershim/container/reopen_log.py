"""ReopenContainerLog: kubelet renamed the log file, and wants a new one at its path."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri


async def reopen_container_log(
    shim: Shim, request: cri.ReopenContainerLogRequest
) -> cri.ReopenContainerLogResponse:
    """Answer once the new file is there and every line from now on goes to it; the engine is not
    asked.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it does not run (CRI), has no log path, or its log is a link to the
            engine's own file.
        Unavailable: the log pump does not answer.
    """
    record = shim.store.container(request.container_id)
    if not record.running:
        raise FailedPrecondition(
            f"container {record.id[:12]} is not running; its log is not reopened", subject=record.id
        )
    if not record.log_path:
        raise FailedPrecondition(
            f"container {record.id[:12]} was created without a log path", subject=record.id
        )
    await shim.logs.reopen(record.id)
    return cri.ReopenContainerLogResponse()
