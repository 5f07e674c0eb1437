"""Figures for people to read, and what to do about a status of gRPC."""

from __future__ import annotations

import math
import time

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_AGES = ((86400, "d"), (3600, "h"), (60, "min"))

REMEDIES = {
    "INVALID_ARGUMENT": "the request itself is wrong: correct the pod's specification",
    "NOT_FOUND": "it is not on this node; if it was just removed, nothing has to be done",
    "ALREADY_EXISTS": "something else has the name: remove it, or wait for its removal",
    "FAILED_PRECONDITION": "the node or the object is not in the state for it, as the message says",
    "PERMISSION_DENIED": "the engine, a registry or the kernel refused: check rights",
    "UNAUTHENTICATED": "the registry wants credentials: check the pod's imagePullSecrets",
    "RESOURCE_EXHAUSTED": "a limit is reached: free what the message names, or raise it",
    "UNAVAILABLE": "kubelet tries again; see the conditions if it lasts",
    "DEADLINE_EXCEEDED": "engine, registry or disk is slow: look at their load and logs",
    "UNIMPLEMENTED": "docs/cri.md says what is supported",
    "INTERNAL": "a defect: the log has more; report it",
    "UNKNOWN": "a defect: the log has more; report it",
    "CANCELLED": "the client gave up",
}
"""By the name of the status."""


def remedy(code: str, message: str) -> str:
    """What to do about a failure; most messages say it themselves, after a semicolon."""
    return REMEDIES.get(code, "" if ";" in message else "the log has the lines around it")


def size(count: int) -> str:
    """Bytes, such as ``1.2 GB``; units are of thousands, as with the engine."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def age(seconds: float) -> str:
    """A time such as ``5 min``, rounded down so that the page seldom changes."""
    found = next(((seconds // length, unit) for length, unit in _AGES if seconds >= length), None)
    return f"{found[0]:.0f} {found[1]}" if found else "now"


def latency(seconds: float) -> str:
    """A time such as ``2.5 ms``."""
    if math.isinf(seconds):
        return "longer"
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def moment(at: float) -> str:
    """Unix time as UTC: ``2026-01-02 03:04:05``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
