"""Tells the stats what runs, by value, whenever the node state changes."""

from __future__ import annotations

import os

from asupervisor.node.records import ContainerRecord, SandboxRecord
from asupervisor.node.store import Change, NodeStore
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ContainerSubject, SandboxSubject


def feed_stats(store: NodeStore, stats: Stats) -> None:
    """Have the stats told of everything in the store now, and of every change from now on."""

    def changed(change: Change) -> None:
        record = change.after
        if isinstance(record, SandboxRecord):
            stats.put_sandbox(sandbox_subject(record))
        elif isinstance(record, ContainerRecord):
            stats.put_container(container_subject(record))
        elif change.before is not None and change.kind == "sandbox":
            stats.forget_sandbox(change.before.id)
        elif change.before is not None:
            stats.forget_container(change.before.id)

    for sandbox in store.sandboxes.values():
        stats.put_sandbox(sandbox_subject(sandbox))
    for container in store.containers.values():
        stats.put_container(container_subject(container))
    store.listen(changed)


def sandbox_subject(record: SandboxRecord) -> SandboxSubject:
    """A sandbox as the stats need it."""
    status = record.status
    return SandboxSubject(
        sandbox_id=record.id,
        pid=record.pid,
        attributes=_attributes(cri.PodSandboxAttributes, status),
        namespace=status.metadata.namespace,
        pod_name=status.metadata.name,
        started_at_ns=status.created_at,
        name=record.engine_name,
        own_network=not record.host_network,
        own_cgroup=bool(record.cgroup_parent.strip("/")),
    )


def container_subject(record: ContainerRecord) -> ContainerSubject:
    """A container as the stats need it."""
    status = record.status
    return ContainerSubject(
        container_id=record.id,
        sandbox_id=record.sandbox_id,
        pid=record.pid,
        attributes=_attributes(cri.ContainerAttributes, status),
        container_name=status.metadata.name,
        started_at_ns=status.started_at,
        name=record.engine_name,
        image=status.image.user_specified_image or status.image.image or record.image_name,
        writable_layer=record.upper_dir,
        mounted=os.path.dirname(record.resolv_conf_path),
    )


def _attributes(
    kind: type[cri.PodSandboxAttributes | cri.ContainerAttributes],
    status: cri.PodSandboxStatus | cri.ContainerStatus,
) -> bytes:
    return encode_field(
        1,
        kind(
            id=status.id,
            metadata=status.metadata,  # type: ignore[arg-type]  # each kind has its own
            labels=status.labels,
            annotations=status.annotations,
        ),
    )
