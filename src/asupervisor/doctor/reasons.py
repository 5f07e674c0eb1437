"""What to do about each reason of not ready."""

from __future__ import annotations

from asupervisor.conditions import Reason

REMEDIES: dict[Reason, str] = {
    Reason.SERVICE_STARTING: "wait; if it lasts, the service's log says what it waits for",
    Reason.SERVICE_STOPPING: "it was told to stop; systemctl start asupervisor",
    Reason.ENGINE_NOT_PROBED: "wait a second: the service has only just started",
    Reason.ENGINE_NOT_INSTALLED: "install Docker Engine 20.10 or later, or give --docker-endpoint",
    Reason.ENGINE_NOT_RUNNING: "systemctl start docker; journalctl -u docker says why it ended",
    Reason.ENGINE_STARTING: "wait; if it lasts, look at dockerd's lines in the service's log",
    Reason.ENGINE_PERMISSION_DENIED: "run as root, or as a member of the socket's group",
    Reason.ENGINE_UNREACHABLE: "give --docker-endpoint the address that the engine listens on",
    Reason.ENGINE_NOT_ANSWERING: (
        "the engine hangs: look at journalctl -u docker and at its disk; systemctl restart docker"
    ),
    Reason.ENGINE_UNSUITABLE: "install an engine and a version of this service that go together",
    Reason.ENGINE_FAILING: "what answers there is not a healthy engine: journalctl -u docker",
    Reason.ENGINE_EVENTS_LOST: "wait: everything is read again; if it lasts, restart the engine",
    Reason.NODE_STATE_NOT_SYNCED: (
        "wait; if it lasts, the engine is slow to list: look at its disk and its load"
    ),
    Reason.NETWORK_NOT_READY: "install the cluster's network; the line cni or kubenet has the rest",
}
"""A remedy for each reason."""


def remedy(reason: str) -> str:
    """What to do about a reason that a service gave; another version may have other reasons."""
    try:
        return REMEDIES[Reason(reason)]
    except ValueError:
        return "its message says what is wrong; the service's log has more"
