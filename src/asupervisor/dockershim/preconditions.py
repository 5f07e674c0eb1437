"""The state that a container or sandbox has to be in for a verb."""

from __future__ import annotations

from asupervisor.errors import FailedPrecondition
from asupervisor.node.records import ContainerRecord, SandboxRecord
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri


def wrong_state(record: ContainerRecord, consequence: str) -> FailedPrecondition:
    """The error of a container that is not in the state that a verb needs."""
    state = cri.ContainerState.Name(record.status.state)
    return FailedPrecondition(
        f"container {record.id[:12]} is in state {state}; {consequence}", subject=record.id
    )


def running_container(store: NodeStore, container_id: str, operation: str) -> ContainerRecord:
    """A container that runs.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it does not run.
    """
    record = store.container(container_id)
    if not record.running:
        raise wrong_state(record, f"{operation} needs a running one")
    return record


def ready_sandbox(store: NodeStore, pod_sandbox_id: str) -> SandboxRecord:
    """A sandbox whose process, and with it its network, is there.

    Raises:
        NotFound: no such sandbox.
        FailedPrecondition: it is not ready.
    """
    record = store.sandbox(pod_sandbox_id)
    if not record.ready or record.pid <= 0:
        raise FailedPrecondition(
            f"pod sandbox {record.id[:12]} is not ready; portforward needs its network",
            subject=record.id,
        )
    return record
