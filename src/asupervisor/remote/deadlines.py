"""How long each call may take: the one table for all of them.

kubelet's rules: most calls get the runtime request timeout; those whose request carries a time of
its own get that time and the request timeout after it; a pull takes as long as it takes (the server
watches its progress, the caller cancels); a stream of events never ends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final


class Deadline(Enum):
    """A rule for one RPC."""

    REQUEST = "the request timeout"
    REQUEST_AFTER_OWN = "the request's own time, then the request timeout"
    REQUEST_AFTER_OWN_OR_NONE = (
        "as REQUEST_AFTER_OWN, but none at all where the request's own time is 0"
    )
    NONE = "none: the caller cancels"


DEADLINES: Final[Mapping[str, Deadline]] = MappingProxyType(
    {
        "RuntimeService/Version": Deadline.REQUEST,
        "RuntimeService/RunPodSandbox": Deadline.REQUEST,
        "RuntimeService/StopPodSandbox": Deadline.REQUEST,
        "RuntimeService/RemovePodSandbox": Deadline.REQUEST,
        "RuntimeService/PodSandboxStatus": Deadline.REQUEST,
        "RuntimeService/ListPodSandbox": Deadline.REQUEST,
        "RuntimeService/StreamPodSandboxes": Deadline.REQUEST,
        "RuntimeService/CreateContainer": Deadline.REQUEST,
        "RuntimeService/StartContainer": Deadline.REQUEST,
        "RuntimeService/StopContainer": Deadline.REQUEST_AFTER_OWN,
        "RuntimeService/RemoveContainer": Deadline.REQUEST,
        "RuntimeService/ListContainers": Deadline.REQUEST,
        "RuntimeService/StreamContainers": Deadline.REQUEST,
        "RuntimeService/ContainerStatus": Deadline.REQUEST,
        "RuntimeService/UpdateContainerResources": Deadline.REQUEST,
        "RuntimeService/ReopenContainerLog": Deadline.REQUEST,
        "RuntimeService/ExecSync": Deadline.REQUEST_AFTER_OWN_OR_NONE,
        "RuntimeService/Exec": Deadline.REQUEST,
        "RuntimeService/Attach": Deadline.REQUEST,
        "RuntimeService/PortForward": Deadline.REQUEST,
        "RuntimeService/ContainerStats": Deadline.REQUEST,
        "RuntimeService/ListContainerStats": Deadline.REQUEST,
        "RuntimeService/StreamContainerStats": Deadline.REQUEST,
        "RuntimeService/PodSandboxStats": Deadline.REQUEST,
        "RuntimeService/ListPodSandboxStats": Deadline.REQUEST,
        "RuntimeService/StreamPodSandboxStats": Deadline.REQUEST,
        "RuntimeService/UpdateRuntimeConfig": Deadline.REQUEST,
        "RuntimeService/Status": Deadline.REQUEST,
        "RuntimeService/CheckpointContainer": Deadline.REQUEST_AFTER_OWN,
        "RuntimeService/CheckpointPod": Deadline.REQUEST,
        "RuntimeService/RestorePod": Deadline.REQUEST,
        "RuntimeService/GetContainerEvents": Deadline.NONE,
        "RuntimeService/ListMetricDescriptors": Deadline.REQUEST,
        "RuntimeService/ListPodSandboxMetrics": Deadline.REQUEST,
        "RuntimeService/StreamPodSandboxMetrics": Deadline.REQUEST,
        "RuntimeService/RuntimeConfig": Deadline.REQUEST,
        "RuntimeService/UpdatePodSandboxResources": Deadline.REQUEST,
        "ImageService/ListImages": Deadline.REQUEST,
        "ImageService/StreamImages": Deadline.REQUEST,
        "ImageService/ImageStatus": Deadline.REQUEST,
        "ImageService/PullImage": Deadline.NONE,
        "ImageService/RemoveImage": Deadline.REQUEST,
        "ImageService/ImageFsInfo": Deadline.REQUEST,
    }
)
"""``Service/Method`` → its rule, for every RPC of the CRI."""


def deadline_s(method: str, request: Any, timeout_s: float) -> float | None:
    """The deadline of one call.

    Args:
        method: ``Service/Method``.
        request: the RPC's request message; its ``timeout`` field (seconds) is the request's own
            time.
        timeout_s: the runtime request timeout, seconds.

    Returns:
        Seconds from now, or None for no deadline.
    """
    rule = DEADLINES[method]
    if rule is Deadline.REQUEST:
        return timeout_s
    if rule is Deadline.NONE:
        return None
    if rule is Deadline.REQUEST_AFTER_OWN_OR_NONE and request.timeout <= 0:
        return None
    return float(max(0, request.timeout) + timeout_s)
