"""What the client returns: plain values, with the server's own message as ``raw``.

What a server says is data: a state that is not known is ``UNKNOWN``, and labels are as they came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from asupervisor.proto import cri

UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,127}")
"""A pod's uid that can name a directory."""


def noted_number(annotations: Mapping[str, str], key: str, default: int) -> int:
    """The whole number in an annotation, of at most nine digits; else the default."""
    noted = re.fullmatch(r"[0-9]{1,9}", annotations.get(key, ""))
    return int(noted[0]) if noted else default


class State(StrEnum):
    """State of a container."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


_STATES = {
    cri.CONTAINER_CREATED: State.CREATED,
    cri.CONTAINER_RUNNING: State.RUNNING,
    cri.CONTAINER_EXITED: State.EXITED,
}
_EVENTS = {
    cri.CONTAINER_CREATED_EVENT: "created",
    cri.CONTAINER_STARTED_EVENT: "started",
    cri.CONTAINER_STOPPED_EVENT: "stopped",
    cri.CONTAINER_DELETED_EVENT: "deleted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInfo:
    """A pod at one moment.

    Args:
        id: of its sandbox.
        name: of the pod.
        namespace: of the pod.
        uid: of the pod.
        attempt: how often the pod's sandbox was made anew.
        ready: whether its sandbox runs.
        created_at_ns: Unix nanoseconds.
        runtime_handler: empty for the server's default.
        addresses: the first is the main one; empty in lists, which do not tell them.
        raw: ``cri.PodSandbox`` of a list, ``cri.PodSandboxStatus`` of one pod.
    """

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    ready: bool
    created_at_ns: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    runtime_handler: str
    addresses: tuple[str, ...] = ()
    raw: Any = field(repr=False, compare=False)

    @classmethod
    def of(cls, message: cri.PodSandbox | cri.PodSandboxStatus) -> PodInfo:
        """From the server's message."""
        addresses: tuple[str, ...] = ()
        if isinstance(message, cri.PodSandboxStatus):
            network = message.network
            found = (network.ip, *(each.ip for each in network.additional_ips))
            addresses = tuple(filter(None, found))
        return cls(
            id=message.id,
            name=message.metadata.name,
            namespace=message.metadata.namespace,
            uid=message.metadata.uid,
            attempt=message.metadata.attempt,
            ready=message.state == cri.SANDBOX_READY,
            created_at_ns=message.created_at,
            labels=dict(message.labels),
            annotations=dict(message.annotations),
            runtime_handler=message.runtime_handler,
            addresses=addresses,
            raw=message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    """A container at one moment.

    Args:
        id: its own.
        pod_id: of the pod's sandbox; empty where the server's answer does not tell it.
        name: of the container.
        attempt: how often the container was made anew.
        image: as the user named it, else as the server names it.
        created_at_ns: Unix nanoseconds.
        started_at_ns: Unix nanoseconds; 0 where it has not happened, and in lists.
        finished_at_ns: Unix nanoseconds; 0 where it has not happened, and in lists.
        exit_code: None while it runs, and in lists.
        reason: why it ended, in one word of the server.
        message: the same in a sentence of the server.
        log_path: of its log file on the server's node; empty if there is none, and in lists.
        raw: ``cri.Container`` of a list, ``cri.ContainerStatus`` of one container.
    """

    id: str
    pod_id: str
    name: str
    attempt: int
    image: str
    state: State
    created_at_ns: int
    started_at_ns: int = 0
    finished_at_ns: int = 0
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    log_path: str = ""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    raw: Any = field(repr=False, compare=False)

    @classmethod
    def of(cls, message: cri.Container | cri.ContainerStatus, pod_id: str = "") -> ContainerInfo:
        """From the server's message; ``pod_id`` where the caller knows it."""
        told: dict[str, Any] = {}
        state = _STATES.get(message.state, State.UNKNOWN)
        if isinstance(message, cri.ContainerStatus):
            told = {
                "started_at_ns": message.started_at,
                "finished_at_ns": message.finished_at,
                "exit_code": message.exit_code if state is State.EXITED else None,
                "reason": message.reason,
                "message": message.message,
                "log_path": message.log_path,
            }
        else:
            pod_id = message.pod_sandbox_id
        return cls(
            id=message.id,
            pod_id=pod_id,
            name=message.metadata.name,
            attempt=message.metadata.attempt,
            image=message.image.user_specified_image or message.image.image,
            state=state,
            created_at_ns=message.created_at,
            labels=dict(message.labels),
            annotations=dict(message.annotations),
            raw=message,
            **told,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of an image that is being pulled, and how much of it is done.

    Args:
        id: the beginning of its digest.
        status: in the engine's words, as ``Downloading`` or ``Pull complete``.
        done_bytes: of what the status says; 0 where it is not known.
        total_bytes: of what the status says; 0 where it is not known.
    """

    id: str
    status: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """An image on the node.

    Args:
        id: its own.
        tags: its names.
        digests: its names by content.
        size_bytes: on the disk.
        pinned: whether kubelet never removes it.
        raw: ``cri.Image``.
    """

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    pinned: bool
    raw: Any = field(repr=False, compare=False)

    @classmethod
    def of(cls, message: cri.Image) -> ImageInfo:
        """From the server's message."""
        return cls(
            id=message.id,
            tags=tuple(message.repo_tags),
            digests=tuple(message.repo_digests),
            size_bytes=message.size,
            pinned=message.pinned,
            raw=message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a container uses.

    Args:
        container_id: of the container.
        name: of the container.
        attempt: how often the container was made anew.
        cpu_cores: cores in use lately; 0 if the server has not measured it yet.
        cpu_time_s: processor seconds since its start.
        memory_bytes: its working set.
        disk_bytes: of its writable layer.
        raw: ``cri.ContainerStats``.
    """

    container_id: str
    name: str
    attempt: int
    cpu_cores: float
    cpu_time_s: float
    memory_bytes: int
    disk_bytes: int
    raw: Any = field(repr=False, compare=False)

    @classmethod
    def of(cls, message: cri.ContainerStats) -> Usage:
        """From the server's message."""
        return cls(
            container_id=message.attributes.id,
            name=message.attributes.metadata.name,
            attempt=message.attributes.metadata.attempt,
            cpu_cores=message.cpu.usage_nano_cores.value / 1e9,
            cpu_time_s=message.cpu.usage_core_nano_seconds.value / 1e9,
            memory_bytes=message.memory.working_set_bytes.value,
            disk_bytes=message.writable_layer.used_bytes.value,
            raw=message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a container or a sandbox.

    Args:
        kind: ``created``, ``started``, ``stopped``, ``deleted``; ``unknown`` for any other.
        container_id: of the container; for an event of a sandbox, the sandbox's id.
        pod: as it is now; None where the server does not tell it.
        at_ns: Unix nanoseconds.
        raw: ``cri.ContainerEventResponse``.
    """

    kind: str
    container_id: str
    pod: PodInfo | None
    at_ns: int
    raw: Any = field(repr=False, compare=False)

    @classmethod
    def of(cls, message: cri.ContainerEventResponse) -> Event:
        """From the server's message."""
        has_pod = message.HasField("pod_sandbox_status")
        return cls(
            kind=_EVENTS.get(message.container_event_type, "unknown"),
            container_id=message.container_id,
            pod=PodInfo.of(message.pod_sandbox_status) if has_pod else None,
            at_ns=message.created_at,
            raw=message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended.

    Args:
        exit_code: its own.
        stdout: what it wrote, up to the limit.
        stderr: what it wrote, up to the limit.
        duration_s: from the request to its end, seconds.
        is_cut: whether it wrote more than the limit; the rest is lost.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    duration_s: float
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed, and what could not be, with the reason."""

    pods: tuple[PodInfo, ...] = ()
    images: tuple[ImageInfo, ...] = ()
    failures: tuple[str, ...] = ()
