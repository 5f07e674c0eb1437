"""Records of sandboxes and containers out of the engine's documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from asupervisor.errors import Internal
from asupervisor.node.records import (
    ContainerId,
    ContainerRecord,
    ImageRecord,
    SandboxId,
    SandboxRecord,
)
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field
from asupervisor.translate.accounts import cri_user
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.documents import document_id, text, whole
from asupervisor.translate.images import image_ref, is_image_id
from asupervisor.translate.inspected import sound_container
from asupervisor.translate.labels import TYPE_SANDBOX
from asupervisor.translate.limits import Limits
from asupervisor.translate.mounts import cri_mounts
from asupervisor.translate.namespaces import sandbox_namespaces
from asupervisor.translate.provenance import Origin, Seal
from asupervisor.translate.resources import cri_resources
from asupervisor.translate.signals import cri_signal
from asupervisor.translate.states import container_facts

ImageLookup = Callable[[str], ImageRecord | None]
"""The image of an id, if the node has it."""


def sandbox_record(  # long: one field after the other
    document: dict[str, Any],
    checkpoint: Checkpoint | None,
    addresses: tuple[str, ...],
    default_runtime: str = "",
    network_lost: bool = False,
    origin: Origin | None = None,
) -> SandboxRecord:
    """A sandbox out of its inspect document.

    Args:
        document: ``GET /containers/{id}/json``, whatever it holds.
        checkpoint: what was kept of it; None where that is missing or corrupt, which does not make
            a sandbox less ready.
        addresses: as the network plugin gave them; where empty, the engine's networks are read
            (no-op plugin).
        default_runtime: the engine's. The checkpoint of a peer's sandbox names no runtime handler;
            if the sandbox has this runtime, no handler was asked for.
        network_lost: its process is another than the one that its network was made for.
        origin: what is believed of its labels; a peer's where not given.

    Raises:
        Internal: it is not a pod's.
    """
    origin = origin or _peers_origin(document)
    document = sound_container(document)
    host_config = document["HostConfig"]
    facts = container_facts(document)
    complete = checkpoint.complete if checkpoint is not None else True
    host_network = host_config.get("NetworkMode") == "host"
    runtime = str(host_config.get("Runtime") or "")
    peer_handler = "" if runtime == default_runtime else runtime
    handler = (
        checkpoint.runtime_handler
        if checkpoint is not None and checkpoint.runtime_handler is not None
        else peer_handler
    )
    asked_pod_pid = checkpoint is not None and checkpoint.extra.get("pid") == "POD"
    status = cri.PodSandboxStatus(
        id=document["Id"],
        metadata=cri.PodSandboxMetadata(
            name=origin.name.pod_name,
            uid=origin.name.pod_uid,
            namespace=origin.name.namespace,
            attempt=origin.name.attempt,
        ),
        state=cri.SANDBOX_READY
        if facts.state == cri.CONTAINER_RUNNING and complete and not network_lost
        else cri.SANDBOX_NOTREADY,
        created_at=facts.created_at,
        labels=origin.labels,
        annotations=origin.annotations,
        runtime_handler=handler,
        linux=cri.LinuxPodSandboxStatus(
            namespaces=cri.Namespace(options=sandbox_namespaces(host_config, asked_pod_pid))
        ),
        network=cri.PodSandboxNetworkStatus(),
    )
    if not host_network and not network_lost:
        _set_addresses(status, addresses or _engine_addresses(document))
    return _with_bytes(
        status,
        engine_name=str(document["Name"]).removeprefix("/"),
        runtime=runtime,
        host_network=host_network,
        host_users=host_config.get("UsernsMode") == "host",
        pid=int(document["State"].get("Pid") or 0),
        known_to_engine=True,
        complete=complete,
        cgroup_parent=str(host_config.get("CgroupParent") or ""),
        resolv_conf_path=str(document.get("ResolvConfPath") or ""),
        log_config=host_config.get("LogConfig") or {},
        started=str(document["State"].get("StartedAt") or ""),
        network_lost=network_lost,
    )


_SUMMARY_RUNNING = ("running", "paused", "restarting")
_LAST_SECOND = 253402300799
"""Of the year 9999, the last that a date can have."""


def summary_record(
    summary: dict[str, Any], checkpoint: Checkpoint | None, origin: Origin
) -> SandboxRecord | ContainerRecord:
    """What a list says of a sandbox or container (``GET /containers/json``), for as long as it
    cannot be inspected.

    Args:
        summary: one element of the list.
        checkpoint: what was kept of it, where it is a sandbox and something was.
        origin: what is believed of its labels.
    """
    state = text(summary, "State")
    created_at = whole(summary, "Created", low=0, high=_LAST_SECOND)
    created = datetime.fromtimestamp(created_at, UTC).isoformat()
    document = {
        "Id": document_id(summary, "container"),
        "Name": str(origin.name),
        "Created": created,
        "Image": text(summary, "ImageID"),
        "State": {
            "Running": state in _SUMMARY_RUNNING,
            # What has ended was started before; the summary does not say when, or how it ended.
            "StartedAt": "" if state == "created" else created,
        },
        "Config": {"Image": text(summary, "Image")},
        "HostConfig": {"NetworkMode": text(summary, "HostConfig", "NetworkMode")},
    }
    if origin.kind == TYPE_SANDBOX:
        return sandbox_record(document, checkpoint, (), origin=origin)
    return container_record(document, lambda reference: None, origin=origin)


def checkpoint_only_record(sandbox_id: str, checkpoint: Checkpoint) -> SandboxRecord:
    """A sandbox that was removed from the engine without this service; NOTREADY, so that kubelet
    tears its network down.
    """
    status = cri.PodSandboxStatus(
        id=sandbox_id,
        metadata=cri.PodSandboxMetadata(
            name=checkpoint.name,
            namespace=checkpoint.namespace,
            uid=checkpoint.uid,
            attempt=checkpoint.attempt,
        ),
        state=cri.SANDBOX_NOTREADY,
        runtime_handler=checkpoint.runtime_handler or "",
    )
    return _with_bytes(
        status,
        engine_name="",
        runtime="",
        host_network=checkpoint.host_network,
        pid=0,
        known_to_engine=False,
        complete=False,
        cgroup_parent="",
        resolv_conf_path="",
    )


def completed(record: SandboxRecord, addresses: tuple[str, ...]) -> SandboxRecord:
    """The same sandbox after its last step.

    Args:
        record: as it was last read.
        addresses: as the network plugin gave them; where empty, those that were read stay.
    """
    status = cri.PodSandboxStatus()
    status.CopyFrom(record.status)
    ready = record.pid and not record.network_lost
    status.state = cri.SANDBOX_READY if ready else cri.SANDBOX_NOTREADY
    if addresses and not record.host_network:
        status.network.Clear()
        _set_addresses(status, addresses)
    return replace(record, status=status, complete=True, **_encoded(status))


def without_network(record: SandboxRecord) -> SandboxRecord:
    """The same sandbox from when its network is released: not ready."""
    status = cri.PodSandboxStatus()
    status.CopyFrom(record.status)
    status.state = cri.SANDBOX_NOTREADY
    status.network.Clear()
    return replace(record, status=status, network_lost=True, **_encoded(status))


def _with_bytes(status: cri.PodSandboxStatus, **fields: Any) -> SandboxRecord:
    return SandboxRecord(id=SandboxId(status.id), status=status, **_encoded(status), **fields)


def _encoded(status: cri.PodSandboxStatus) -> dict[str, Any]:
    item = cri.PodSandbox(
        id=status.id,
        metadata=status.metadata,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
        runtime_handler=status.runtime_handler,
    )
    return {"item_bytes": encode_field(1, item), "status_bytes": encode_field(1, status)}


def _peers_origin(document: dict[str, Any]) -> Origin:
    origin = Seal().origin(document)
    if origin is None:
        any_id = document_id(document, "container")
        raise Internal(f"container {any_id} is not a pod's", subject=any_id)
    return origin


def _engine_addresses(document: dict[str, Any]) -> tuple[str, ...]:
    """Addresses on the engine's networks; the top-level fields of NetworkSettings are gone in API
    1.52, so they are not read.
    """
    found: list[str] = []
    for network in ((document.get("NetworkSettings") or {}).get("Networks") or {}).values():
        found += [
            network.get(key) for key in ("IPAddress", "GlobalIPv6Address") if network.get(key)
        ]
    return tuple(found)


def _set_addresses(status: cri.PodSandboxStatus, addresses: tuple[str, ...]) -> None:
    if addresses:
        status.network.ip = addresses[0]
        status.network.additional_ips.extend(cri.PodIP(ip=address) for address in addresses[1:])


def container_record(  # long: one field after the other
    document: dict[str, Any],
    image_of: ImageLookup,
    note: str = "",
    changed: Limits | None = None,
    user: cri.ContainerUser | None = None,
    origin: Origin | None = None,
) -> ContainerRecord:
    """A container out of its inspect document.

    Args:
        document: ``GET /containers/{id}/json``, whatever it holds.
        image_of: finds its image, whose names go into the status.
        note: added to what the engine says in its status' message.
        changed: limits that this service changed itself, not through the engine, since the
            creation.
        user: the user that it runs as, read from its process; None where it was not read.
        origin: what is believed of its labels; a peer's where not given.

    Raises:
        Internal: it is not a pod's.
    """
    origin = origin or _peers_origin(document)
    document = sound_container(document)
    config, host_config = document["Config"], document["HostConfig"]
    facts = container_facts(document)
    beside = Limits(origin.cgroup) | (changed or Limits())
    status = cri.ContainerStatus(
        id=document["Id"],
        metadata=cri.ContainerMetadata(name=origin.name.container, attempt=origin.name.attempt),
        state=facts.state,  # type: ignore[arg-type]
        created_at=facts.created_at,
        started_at=facts.started_at,
        finished_at=facts.finished_at,
        exit_code=facts.exit_code,
        image=cri.ImageSpec(user_specified_image=_asked_image(config, origin)),
        image_id=str(document.get("Image") or ""),
        reason=facts.reason,
        message="; ".join(filter(None, (facts.message, note))),
        labels=origin.labels,
        annotations=origin.annotations,
        mounts=cri_mounts(document, lambda reference: _image_id(reference, image_of)),
        log_path=origin.log_path,
        resources=cri.ContainerResources(linux=cri_resources(host_config, beside)),
        user=user or cri_user(document),
        stop_signal=cri_signal(str(config.get("StopSignal") or "")),  # type: ignore[arg-type]
    )
    image, image_name = image_of(status.image_id), str(config.get("Image") or "")
    _name_image(status, image, image_name, origin.image_ref)
    driver_data = (document.get("GraphDriver") or {}).get("Data") or {}
    return ContainerRecord(
        id=ContainerId(document["Id"]),
        sandbox_id=SandboxId(origin.sandbox_id),
        status=status,
        engine_name=str(document["Name"]).removeprefix("/"),
        image_name=image_name,
        pid=int(document["State"].get("Pid") or 0),
        tty=bool(config.get("Tty")),
        stdin=bool(config.get("OpenStdin")),
        stdin_once=bool(config.get("StdinOnce")),
        log_path=origin.log_target,
        engine_log_path=str(document.get("LogPath") or ""),
        log_driver=str((host_config.get("LogConfig") or {}).get("Type") or ""),
        upper_dir=str(driver_data.get("UpperDir") or ""),
        resolv_conf_path=str(document.get("ResolvConfPath") or ""),
        cgroup_parent=str(host_config.get("CgroupParent") or ""),
        runtime=str(host_config.get("Runtime") or ""),
        image_ref=status.image_ref if image is not None else origin.image_ref,
        **_encoded_container(status, origin.sandbox_id),
    )


def _asked_image(config: dict[str, Any], origin: Origin) -> str:
    """The image as kubelet asked for it; of a peer's container only what the engine was given is
    known, which may be an id.
    """
    told = str(config.get("Image") or "")
    return origin.user_image or ("" if is_image_id(told) else told)


def _image_id(reference: str, image_of: ImageLookup) -> str:
    image = image_of(reference)
    return str(image.id) if image is not None else ""


def with_image(record: ContainerRecord, image: ImageRecord | None) -> ContainerRecord:
    """The same container with the present names of its image; its image_ref stays."""
    status = cri.ContainerStatus()
    status.CopyFrom(record.status)
    _name_image(status, image, record.image_name, record.image_ref)
    return replace(
        record,
        status=status,
        image_ref=status.image_ref if image is not None else record.image_ref,
        **_encoded_container(status, record.sandbox_id),
    )


def _name_image(
    status: cri.ContainerStatus, image: ImageRecord | None, asked: str, image_ref_before: str
) -> None:
    """Set the names of the image in a status.

    Args:
        status: changed.
        image: as the node has it; None where it does not.
        asked: what the engine was asked for.
        image_ref_before: stays; empty where there was none yet.
    """
    name, digests = asked, list[str]()
    if image is not None:
        digests = list(image.image.repo_digests)
        name = image.image.repo_tags[0] if image.image.repo_tags else asked
    status.image.image = name
    status.image_ref = image_ref_before or image_ref(status.image_id, digests)


def _encoded_container(status: cri.ContainerStatus, sandbox_id: str) -> dict[str, Any]:
    item = cri.Container(
        id=status.id,
        pod_sandbox_id=sandbox_id,
        metadata=status.metadata,
        image=status.image,
        image_ref=status.image_id,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
        image_id=status.image_id,
    )
    return {"item_bytes": encode_field(1, item), "status_bytes": encode_field(1, status)}
