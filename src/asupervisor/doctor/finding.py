"""What a check found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from asupervisor.doctor.node import Node


class Level(IntEnum):
    """How bad a finding is; also the exit code of the command."""

    OK = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Args:
        level: how bad it is.
        message: what was found.
        remedy: what to do about it; empty where all is well.
    """

    level: Level
    message: str
    remedy: str = ""


def ok(message: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, message)


def warning(message: str, remedy: str) -> Finding:
    """Pods run, but not as well or not as long as they could."""
    return Finding(Level.WARNING, message, remedy)


def error(message: str, remedy: str) -> Finding:
    """Pods do not run, or will be lost."""
    return Finding(Level.ERROR, message, remedy)


Found = Finding | list[Finding]
"""An empty list if there was nothing to check, as without an engine."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: the first word of its lines, and its name in docs/doctor.md.
        look: the check itself. A coroutine runs in the event loop, anything else in a thread.
    """

    name: str
    look: Callable[[Node], Found | Awaitable[Found]]
