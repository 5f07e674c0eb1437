"""Tells the log service what runs and what has ended, before the node state shows it."""

from __future__ import annotations

from collections.abc import Collection

from asupervisor.logs.service import LogService, LogSource
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri

_DRAIN_S = 1.0
"""How long an exit may wait to be shown for the last lines, which are written in any case."""


class ContainerLogs:
    """What the feed tells the log service.

    Args:
        logs: writes the log of every container with a log path; None writes none.
    """

    def __init__(self, logs: LogService | None = None) -> None:
        self._logs = logs

    async def settle(self, record: ContainerRecord) -> None:
        """A container is about to be shown in this state. A reader of an exit finds the log
        complete, unless that takes too long."""
        never_logged = not record.engine_log_path and record.log_driver == "json-file"
        if not record.log_path or record.status.state == cri.CONTAINER_CREATED or never_logged:
            return
        if self._logs is None:
            return
        log = LogSource(
            container_id=record.id,
            target=record.log_path,
            source=record.engine_log_path if record.log_driver == "json-file" else "",
            tty=record.tty,
            running=record.running,
        )
        self._logs.follow(log)
        if not record.running:
            await self._logs.finish(record.id, _DRAIN_S)

    def note(self, container_id: str) -> str:
        """What a container's status must say of its log; usually empty."""
        reason = self._logs.unreadable(container_id) if self._logs is not None else ""
        return f"the container's log cannot be read from Docker Engine: {reason}" if reason else ""

    def forget(self, container_id: str) -> None:
        """A container is gone."""
        if self._logs is not None:
            self._logs.forget(container_id)

    def retain(self, container_ids: Collection[str]) -> None:
        """These are all the containers that there are."""
        if self._logs is not None:
            self._logs.retain(container_ids)
