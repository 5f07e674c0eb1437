"""What has to run before anything can be streamed from it."""

from __future__ import annotations

from asupervisor.errors import FailedPrecondition
from asupervisor.node.records import ContainerRecord, SandboxRecord
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri


def running_container(store: NodeStore, container_id: str, operation: str) -> ContainerRecord:
    """A container that runs.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it does not run.
    """
    record = store.container(container_id)
    if not record.running:
        state = cri.ContainerState.Name(record.status.state)
        raise FailedPrecondition(
            f"container {record.id[:12]} is in state {state}; {operation} needs a running one",
            operation=operation,
            subject=record.id,
        )
    return record


def ready_sandbox(store: NodeStore, pod_sandbox_id: str, operation: str) -> SandboxRecord:
    """A sandbox whose process, and with it its network, is there.

    Raises:
        NotFound: no such sandbox.
        FailedPrecondition: it is not ready.
    """
    record = store.sandbox(pod_sandbox_id)
    if not record.ready or record.pid <= 0:
        raise FailedPrecondition(
            f"pod sandbox {record.id[:12]} is not ready; {operation} needs its network",
            operation=operation,
            subject=record.id,
        )
    return record
