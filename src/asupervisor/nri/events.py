"""NRI's events: the call for each of them, and the mask with which a plugin asks for them."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from asupervisor.proto.nri.v1alpha1 import api_pb2 as api

PLUGIN_SERVICE = f"{api.DESCRIPTOR.package}.Plugin"
RUNTIME_SERVICE = f"{api.DESCRIPTOR.package}.Runtime"

METHODS: dict[api.Event, str] = {
    api.RUN_POD_SANDBOX: "RunPodSandbox",
    api.UPDATE_POD_SANDBOX: "UpdatePodSandbox",
    api.POST_UPDATE_POD_SANDBOX: "PostUpdatePodSandbox",
    api.STOP_POD_SANDBOX: "StopPodSandbox",
    api.REMOVE_POD_SANDBOX: "RemovePodSandbox",
    api.CREATE_CONTAINER: "CreateContainer",
    api.POST_CREATE_CONTAINER: "PostCreateContainer",
    api.START_CONTAINER: "StartContainer",
    api.POST_START_CONTAINER: "PostStartContainer",
    api.UPDATE_CONTAINER: "UpdateContainer",
    api.POST_UPDATE_CONTAINER: "PostUpdateContainer",
    api.STOP_CONTAINER: "StopContainer",
    api.REMOVE_CONTAINER: "RemoveContainer",
    api.VALIDATE_CONTAINER_ADJUSTMENT: "ValidateContainerAdjustment",
}
BY_STATE_CHANGE = frozenset(
    (
        api.RUN_POD_SANDBOX,
        api.POST_UPDATE_POD_SANDBOX,
        api.STOP_POD_SANDBOX,
        api.REMOVE_POD_SANDBOX,
        api.POST_CREATE_CONTAINER,
        api.START_CONTAINER,
        api.POST_START_CONTAINER,
        api.POST_UPDATE_CONTAINER,
        api.REMOVE_CONTAINER,
    )
)
"""Events that a plugin without the event's own call is told with StateChange."""
ALL = (1 << (api.LAST - 1)) - 1
"""The mask of every event."""


def mask(events: Iterable[int]) -> int:
    """The mask of events in the answer to Configure: bit 0 is the event 1."""
    return sum(1 << (event - 1) for event in set(events))


def response_class(event: api.Event) -> type[Message]:
    """The class of the call's answer."""
    found: type[Message] = getattr(api, f"{METHODS[event]}Response")
    return found
