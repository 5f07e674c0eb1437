"""PodSandboxStatus, from memory; verbose adds what the engine says now."""

from __future__ import annotations

import time

from asupervisor.dockershim.shim import Shim
from asupervisor.dockershim.verbose import verbose_info
from asupervisor.node.fitting import MESSAGE_BYTES
from asupervisor.node.records import SandboxRecord
from asupervisor.proto import cri
from asupervisor.proto.wire import retag


async def pod_sandbox_status(shim: Shim, request: cri.PodSandboxStatusRequest) -> bytes:
    """A whole PodSandboxStatusResponse.

    Raises:
        NotFound: no such sandbox.
    """
    record = shim.store.sandbox(request.pod_sandbox_id)
    answer = record.status_bytes + _observed(shim, record.id)
    if not request.verbose:
        return answer
    info = await verbose_info(shim, record.id, record.pid, _facts(shim, record))
    return answer + cri.PodSandboxStatusResponse(info=info).SerializeToString()


def _facts(shim: Shim, record: SandboxRecord) -> dict[str, object]:
    facts: dict[str, object] = {"runtime": record.runtime, "complete": record.complete}
    checkpoint = shim.checkpoints.get(record.id)
    if checkpoint is not None:
        facts |= {
            key: checkpoint.extra[key]
            for key in ("resources", "overhead")
            if key in checkpoint.extra
        }
    return facts


def _observed(shim: Shim, sandbox_id: str) -> bytes:
    """``containers_statuses`` and ``timestamp``, always together: kubelet takes a timestamp alone
    for "no containers". Neither is there if a container of the pod could not be read yet, or if
    they are too long for the message: then kubelet asks for each container.
    """
    if not shim.store.whole(sandbox_id):
        return b""
    timestamp = cri.PodSandboxStatusResponse(timestamp=time.time_ns()).SerializeToString()
    observed = b"".join(
        [
            *(
                retag(3, container.status_bytes)
                for container in shim.store.containers_of(sandbox_id)
                if not shim.store.conceals(container)
            ),
            timestamp,
        ]
    )
    return observed if len(observed) <= MESSAGE_BYTES // 2 else b""
