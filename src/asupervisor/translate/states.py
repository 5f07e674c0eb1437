"""The state of an engine container in the CRI's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asupervisor.errors import MOST_WORDS
from asupervisor.proto import cri
from asupervisor.translate.times import unix_nanoseconds


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """State, reason and times (Unix nanoseconds, 0 for never) of one container."""

    state: int
    created_at: int
    started_at: int
    finished_at: int
    exit_code: int
    reason: str
    message: str


def container_facts(document: dict[str, Any]) -> ContainerFacts:
    """Read an inspect document.

    A container that the engine could not start stays in its state ``created`` with an error; the
    CRI wants it EXITED, with the creation time in place of the times that it does not have."""
    state = document["State"]
    created_at = unix_nanoseconds(document.get("Created"))
    started_at = unix_nanoseconds(state.get("StartedAt"))
    finished_at = unix_nanoseconds(state.get("FinishedAt"))
    exit_code = int(state.get("ExitCode") or 0)
    # It may quote an image's command line, and every status and event carries it.
    error = str(state.get("Error") or "")[:MOST_WORDS]
    if state.get("Running") or state.get("Paused"):
        return ContainerFacts(cri.CONTAINER_RUNNING, created_at, started_at, 0, 0, "", error)
    if started_at:
        # The engine records the time of the start later: for a container that ran only briefly it
        # can be after the end.
        started_at = min(started_at, finished_at) if finished_at else started_at
        if state.get("OOMKilled"):
            reason = "OOMKilled"
        else:
            reason = "Completed" if exit_code == 0 and not error else "Error"
        return ContainerFacts(
            cri.CONTAINER_EXITED, created_at, started_at, finished_at, exit_code, reason, error
        )
    if exit_code or error:
        return ContainerFacts(
            cri.CONTAINER_EXITED,
            created_at,
            created_at,
            finished_at or created_at,
            exit_code,
            "ContainerCannotRun",
            error,
        )
    return ContainerFacts(cri.CONTAINER_CREATED, created_at, 0, 0, 0, "", "")
