"""How long each call may take.

The rules are kubelet's. Most calls get the runtime request timeout. If the request has a time of
its own, the call gets that time plus the request timeout. A pull has no deadline: the server
watches its progress, and the caller may cancel it. A stream of events never ends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from asupervisor.proto import cri


class Deadline(Enum):
    """A rule for one RPC."""

    REQUEST = "the request timeout"
    REQUEST_AFTER_OWN = "the request's own time, then the request timeout"
    REQUEST_AFTER_OWN_OR_NONE = (
        "as REQUEST_AFTER_OWN, but none at all where the request's own time is 0"
    )
    NONE = "none: the caller cancels"


_OTHER = {
    "RuntimeService/StopContainer": Deadline.REQUEST_AFTER_OWN,
    "RuntimeService/ExecSync": Deadline.REQUEST_AFTER_OWN_OR_NONE,
    "RuntimeService/CheckpointContainer": Deadline.REQUEST_AFTER_OWN,
    "RuntimeService/GetContainerEvents": Deadline.NONE,
    "ImageService/PullImage": Deadline.NONE,
}
DEADLINES: Final[Mapping[str, Deadline]] = MappingProxyType(
    {
        name: _OTHER.get(name, Deadline.REQUEST)
        for service in cri.DESCRIPTOR.services_by_name.values()
        for name in (f"{service.name}/{method.name}" for method in service.methods)
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
