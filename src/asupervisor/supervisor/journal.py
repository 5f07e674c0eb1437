"""Keeps the newest events of pods, and the newest errors and warnings, for the status page."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import replace

from asupervisor.node.records import ContainerRecord, SandboxRecord
from asupervisor.node.store import Change
from asupervisor.observability.page.view import Event, Trouble
from asupervisor.proto import cri

_REMEMBERED = 50
_LONGEST = 1000
"""Characters of a message."""
_HAPPENED = {
    cri.CONTAINER_CREATED: "created",
    cri.CONTAINER_RUNNING: "started",
    cri.CONTAINER_EXITED: "ended",
    cri.CONTAINER_UNKNOWN: "cannot be read",
}


class Journal(logging.Handler):
    """Gets the changes of the node state, and log lines: warnings, errors, calls that failed.

    A change or a line costs some µs. No record of the store is kept in memory by this.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._events: deque[Event] = deque(maxlen=_REMEMBERED)
        self._troubles: deque[Trouble] = deque(maxlen=_REMEMBERED)

    @property
    def events(self) -> tuple[Event, ...]:
        """The newest first."""
        return tuple(reversed(self._events))

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """The newest first."""
        return tuple(reversed(self._troubles))

    def changed(self, change: Change) -> None:
        """Note a change that people want to see: a listener of the store."""
        before, after = change.before, change.after
        if before is None and after is None:
            return
        record = after or before
        assert record is not None
        if after is None:
            what = "removed"
        elif before is not None and before.status.state == after.status.state:
            return
        elif isinstance(after, SandboxRecord):
            what = "pod is ready" if after.ready else "pod is not ready"
        else:
            what = _ended(after) if after.status.state == cri.CONTAINER_EXITED else ""
            what = what or _HAPPENED.get(after.status.state, "changed")
        self._events.append(Event(time.time(), what, _name(record)))

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line about a problem: a handler of the service's log."""
        code = str(getattr(record, "code", ""))
        if record.levelno < logging.WARNING and not code:
            return
        message = record.getMessage()[:_LONGEST]
        level = record.levelname.lower()
        trouble = Trouble(record.created, level, message, code)
        last = self._troubles[-1] if self._troubles else None
        if last is not None and (last.message, last.code) == (message, code):
            self._troubles[-1] = replace(trouble, times=last.times + 1)
        else:
            self._troubles.append(trouble)


def _ended(record: ContainerRecord) -> str:
    return f"ended with {record.status.exit_code} ({record.status.reason})"


def _name(record: SandboxRecord | ContainerRecord) -> str:
    if isinstance(record, SandboxRecord):
        metadata = record.status.metadata
        return f"{metadata.namespace}/{metadata.name}"
    labels = record.status.labels
    pod = f"{labels['io.kubernetes.pod.namespace']}/{labels['io.kubernetes.pod.name']}"
    name = record.status.metadata.name
    return f"{pod}/{name}" if pod != "/" else f"{name} of {record.sandbox_id[:13]}"
