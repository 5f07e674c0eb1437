"""Every RPC of the CRI by name: its verb, its request, and how it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from asupervisor.dockershim.container.checkpoint import checkpoint_container
from asupervisor.dockershim.container.create import create_container
from asupervisor.dockershim.container.events import get_container_events
from asupervisor.dockershim.container.exec_sync import exec_sync
from asupervisor.dockershim.container.list import list_containers, stream_containers
from asupervisor.dockershim.container.outputs import HeldAnswer
from asupervisor.dockershim.container.remove import remove_container
from asupervisor.dockershim.container.reopen_log import reopen_container_log
from asupervisor.dockershim.container.start import start_container
from asupervisor.dockershim.container.stats import (
    container_stats,
    list_container_stats,
    stream_container_stats,
)
from asupervisor.dockershim.container.status import container_status
from asupervisor.dockershim.container.stop import stop_container
from asupervisor.dockershim.container.update import update_container_resources
from asupervisor.dockershim.image.fs_info import image_fs_info
from asupervisor.dockershim.image.list import list_images, stream_images
from asupervisor.dockershim.image.pull import pull_image
from asupervisor.dockershim.image.remove import remove_image
from asupervisor.dockershim.image.status import image_status
from asupervisor.dockershim.runtime.config import runtime_config, update_runtime_config
from asupervisor.dockershim.runtime.status import status
from asupervisor.dockershim.sandbox.checkpoint import checkpoint_pod, restore_pod
from asupervisor.dockershim.sandbox.list import list_pod_sandbox, stream_pod_sandboxes
from asupervisor.dockershim.sandbox.metrics import (
    list_metric_descriptors,
    list_pod_sandbox_metrics,
    stream_pod_sandbox_metrics,
)
from asupervisor.dockershim.sandbox.remove import remove_pod_sandbox
from asupervisor.dockershim.sandbox.run import run_pod_sandbox
from asupervisor.dockershim.sandbox.stats import (
    list_pod_sandbox_stats,
    pod_sandbox_stats,
    stream_pod_sandbox_stats,
)
from asupervisor.dockershim.sandbox.status import pod_sandbox_status
from asupervisor.dockershim.sandbox.stop import stop_pod_sandbox
from asupervisor.dockershim.sandbox.update import update_pod_sandbox_resources
from asupervisor.dockershim.shim import Shim
from asupervisor.dockershim.streaming.attach import attach
from asupervisor.dockershim.streaming.exec import exec_
from asupervisor.dockershim.streaming.port_forward import port_forward
from asupervisor.node.known import Known
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri

Unary = Callable[[Shim, Any], Awaitable[Message | bytes | HeldAnswer]]
"""A verb: answers with a message, with an encoded one, or with bytes that are counted until the
call ends.
"""
Streaming = Callable[[Shim, Any], AsyncIterator[Message | bytes]]

SERVICES = ("RuntimeService", "ImageService")
API_VERSIONS = ("v1", "v1alpha2")
"""One set of verbs serves both: they are the same on the wire."""

_UNARY: dict[str, Unary] = {
    "Status": status,
    "RuntimeConfig": runtime_config,
    "UpdateRuntimeConfig": update_runtime_config,
    "RunPodSandbox": run_pod_sandbox,
    "StopPodSandbox": stop_pod_sandbox,
    "RemovePodSandbox": remove_pod_sandbox,
    "PodSandboxStatus": pod_sandbox_status,
    "ListPodSandbox": list_pod_sandbox,
    "CreateContainer": create_container,
    "StartContainer": start_container,
    "StopContainer": stop_container,
    "RemoveContainer": remove_container,
    "ContainerStatus": container_status,
    "UpdateContainerResources": update_container_resources,
    "UpdatePodSandboxResources": update_pod_sandbox_resources,
    "CheckpointContainer": checkpoint_container,
    "CheckpointPod": checkpoint_pod,
    "RestorePod": restore_pod,
    "ReopenContainerLog": reopen_container_log,
    "ListContainers": list_containers,
    "ContainerStats": container_stats,
    "ListContainerStats": list_container_stats,
    "PodSandboxStats": pod_sandbox_stats,
    "ListPodSandboxStats": list_pod_sandbox_stats,
    "ListMetricDescriptors": list_metric_descriptors,
    "ListPodSandboxMetrics": list_pod_sandbox_metrics,
    "ExecSync": exec_sync,
    "Exec": exec_,
    "Attach": attach,
    "PortForward": port_forward,
    "PullImage": pull_image,
    "ListImages": list_images,
    "ImageStatus": image_status,
    "RemoveImage": remove_image,
    "ImageFsInfo": image_fs_info,
}
_STREAMING: dict[str, Streaming] = {
    "StreamPodSandboxes": stream_pod_sandboxes,
    "StreamContainers": stream_containers,
    "StreamImages": stream_images,
    "StreamContainerStats": stream_container_stats,
    "StreamPodSandboxStats": stream_pod_sandbox_stats,
    "StreamPodSandboxMetrics": stream_pod_sandbox_metrics,
    "GetContainerEvents": get_container_events,
}

READY_BYTES: dict[str, Callable[[Shim], bytes]] = {
    "ListPodSandbox": lambda shim: shim.store.list_sandboxes(),
    "ListContainers": lambda shim: shim.store.list_containers(),
    "ListImages": lambda shim: shim.store.list_images(),
}
"""Answers to an empty request, which the node state has ready."""


NEEDS_NOTHING = frozenset(
    {
        "Status",
        "Version",
        "RuntimeConfig",
        "UpdateRuntimeConfig",
        "ListMetricDescriptors",
        "GetContainerEvents",
    }
)
"""RPCs that are answered before anything was read. GetContainerEvents waits for the first reading
itself: kubelet gives up the stream for ever after a few errors.
"""
NEEDS_IMAGES = frozenset({"ListImages", "StreamImages", "ImageStatus", "PullImage", "RemoveImage"})
"""RPCs that need the node's images and not its containers."""
NEEDS_BOTH = frozenset({"RunPodSandbox", "CreateContainer"})
"""Every other RPC needs the node's containers; so does ImageFsInfo, whose figures are of writable
layers and of the file system: kubelet asks for it at its start, and ends if it gets an error.
"""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    Args:
        name: as the CRI has it.
        service: ``RuntimeService`` or ``ImageService``.
        request_type: the message class of its request.
        unary: its verb, or None.
        streaming: its verb when it answers with a stream, or None.
        streams: whether the CRI says that it answers with a stream.
    """

    name: str
    service: str
    request_type: type[Message]
    unary: Unary | None
    streaming: Streaming | None
    streams: bool

    def needs(self, store: NodeStore) -> tuple[Known, ...]:
        """What must have been read once before this is answered."""
        if self.name in NEEDS_NOTHING:
            return ()
        if self.name in NEEDS_IMAGES:
            return (store.images_known,)
        if self.name in NEEDS_BOTH:
            return (store.containers_known, store.images_known)
        return (store.containers_known,)


def all_methods() -> list[Method]:
    """Every RPC in the descriptors, with or without a verb, so that none is forgotten."""
    return [
        _method(service, method)
        for service in SERVICES
        for method in cri.DESCRIPTOR.services_by_name[service].methods
    ]


def _method(service: str, method: MethodDescriptor) -> Method:
    return Method(
        name=method.name,
        service=service,
        request_type=getattr(cri, method.input_type.name),
        unary=_UNARY.get(method.name),
        streaming=_STREAMING.get(method.name),
        streams=method.server_streaming,
    )
