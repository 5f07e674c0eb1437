"""What the node has, as immutable records that carry their own encoded CRI form.

A list or a status is answered by joining or returning these bytes: building the messages again for
every call would cost a hundred times as much. A record is replaced, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NewType

from asupervisor.proto import cri
from asupervisor.translate.images import ImageSummary

SandboxId = NewType("SandboxId", str)
"""The engine's id of a sandbox container: 64 hex digits."""
ContainerId = NewType("ContainerId", str)
"""The engine's id of a container: 64 hex digits."""
ImageId = NewType("ImageId", str)
"""The engine's id of an image: ``sha256:`` and 64 hex digits."""


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """One pod sandbox.

    Args:
        status: its CRI status, as PodSandboxStatus answers it.
        engine_name: the engine container's name, without the slash; empty when only a checkpoint
            knows the sandbox.
        runtime: the OCI runtime that the engine chose or was given.
        host_network: whether it shares the host's network.
        pid: of its process in our pid namespace; 0 when it does not run.
        known_to_engine: False when only a checkpoint is left of it.
        complete: every step of RunPodSandbox is done.
        cgroup_parent: as the engine has it.
        resolv_conf_path: the pod's resolv.conf on the host.
        started: when its process started last, as the engine writes it; empty for never.
        network_lost: its process is another than the one that its network was made for.
        log_config: ``LogConfig`` as the engine gave it, which is its default: a sandbox asks for
            none.
    """

    id: SandboxId
    status: cri.PodSandboxStatus
    engine_name: str
    runtime: str
    host_network: bool
    pid: int
    known_to_engine: bool
    complete: bool
    cgroup_parent: str
    resolv_conf_path: str
    item_bytes: bytes = field(repr=False)
    """``ListPodSandboxResponse.items``, one element."""
    status_bytes: bytes = field(repr=False)
    """``PodSandboxStatusResponse.status``."""
    log_config: Mapping[str, Any] = field(default_factory=dict)
    host_users: bool = False
    """Whether it has the host's users although the engine maps users."""
    started: str = ""
    network_lost: bool = False

    @property
    def ready(self) -> bool:
        """SANDBOX_READY: its process runs, it is complete, and its network is there."""
        return self.status.state == cri.SANDBOX_READY


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container of a sandbox.

    Args:
        status: its CRI status, as ContainerStatus answers it.
        image_name: the image as the engine was told at creation.
        image_ref: the status' image_ref, which stays for the container's life; empty until its
            image was seen.
        pid: of its init process in our pid namespace; 0 when it does not run.
        tty, stdin, stdin_once: as created.
        log_path: the CRI log file that this service may write; empty for none. The status tells the
            one that the container was created with.
        engine_log_path: the engine's own log file; empty where the log driver keeps none.
        log_driver: the engine log driver of the container.
        upper_dir: the writable layer on the host; empty where the storage driver does not tell.
        resolv_conf_path: the pod's resolv.conf on the host; empty before the first start.
        cgroup_parent: as the engine has it.
        runtime: the OCI runtime.
    """

    id: ContainerId
    sandbox_id: SandboxId
    status: cri.ContainerStatus
    engine_name: str
    image_name: str
    pid: int
    tty: bool
    stdin: bool
    stdin_once: bool
    log_path: str
    engine_log_path: str
    log_driver: str
    upper_dir: str
    resolv_conf_path: str
    cgroup_parent: str
    runtime: str
    item_bytes: bytes = field(repr=False)
    """``ListContainersResponse.containers``, one element."""
    status_bytes: bytes = field(repr=False)
    """``ContainerStatusResponse.status``."""
    image_ref: str = ""

    @property
    def running(self) -> bool:
        """CONTAINER_RUNNING."""
        return self.status.state == cri.CONTAINER_RUNNING


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image.

    Args:
        summary: what the engine's list said of it when it was inspected; None where it was read
            alone since.
        usable: the engine has its content for this node's platform; one without it counts as absent
            but is listed, so that it can be collected.
        config_bytes: size of its configuration. One that is too long for a container is not kept.
    """

    id: ImageId
    image: cri.Image
    document: Mapping[str, Any] = field(repr=False)
    """The engine's inspect document, for verbose answers."""
    item_bytes: bytes = field(repr=False)
    """``ListImagesResponse.images`` and ``ImageStatusResponse.image``: the same number."""
    summary: ImageSummary | None = None
    usable: bool = True
    config_bytes: int = 0
