"""The fields of a log line: the pod, the sandbox and the container that it is about."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.node.records import ContainerId, ContainerRecord, SandboxId, SandboxRecord
from asupervisor.proto import cri


def pod_fields(metadata: cri.PodSandboxMetadata, sandbox_id: str) -> dict[str, str]:
    """Of a sandbox that has no record yet."""
    return {"pod": f"{metadata.namespace}/{metadata.name}", "sandbox": sandbox_id}


def sandbox_fields(record: SandboxRecord) -> dict[str, str]:
    """Of a sandbox."""
    return pod_fields(record.status.metadata, record.id)


def container_fields(shim: Shim, record: ContainerRecord) -> dict[str, str]:
    """Of a container and the pod that it is in."""
    sandbox = shim.store.sandboxes.get(record.sandbox_id)
    return {**(sandbox_fields(sandbox) if sandbox is not None else {}), "container": record.id}


def subject_fields(shim: Shim, subject: str) -> dict[str, str]:
    """Of what an error is about: the sandbox or container of that id, else the subject."""
    container = shim.store.containers.get(ContainerId(subject))
    if container is not None:
        return container_fields(shim, container)
    sandbox = shim.store.sandboxes.get(SandboxId(subject))
    if sandbox is not None:
        return sandbox_fields(sandbox)
    return {"subject": subject} if subject else {}
