"""Asks the engine, all the time, whether it is there: pings within a deadline, versions and
capabilities when it (re)appears.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

from asupervisor.engine.client import EngineClient
from asupervisor.engine.session import EngineAbsent
from asupervisor.errors import (
    ConfigError,
    DeadlineExceeded,
    FailedPrecondition,
    PermissionDenied,
    ServiceError,
)

_logger = logging.getLogger("asupervisor.engine.probe")


class Probe:
    """Writes whether the engine is reachable.

    Args:
        engine: probed.
        interval_s: seconds between two pings.
        deadline_s: seconds that a ping may take; with ``interval_s`` this bounds how late a frozen
            engine is noticed.
        identify_deadline_s: seconds that the questions on (re)appearance may take.
        check: raises ConfigError for an engine that contradicts the settings, which ends the
            service.
    """

    def __init__(
        self,
        engine: EngineClient,
        interval_s: float,
        deadline_s: float,
        identify_deadline_s: float = 10.0,
        check: Callable[[EngineClient], None] = lambda engine: None,
    ) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._identify_deadline_s = identify_deadline_s
        self._check = check
        self.first_answer = anyio.Event()
        """Set once the first probe has an outcome, good or bad."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Probe until cancelled."""
        task_status.started()
        while True:
            await self.once()
            self.first_answer.set()
            await anyio.sleep(
                self._interval_s if self._engine.health.reachable else min(self._interval_s, 0.25)
            )

    async def once(self) -> None:
        """One probe; its outcome is in the engine's health."""
        health = self._engine.health
        was_reachable = health.reachable
        try:
            await self._engine.system.ping(self._deadline_s)
            if not was_reachable and not health.synced:
                # It may have been restarted, or replaced by another version.
                await self._engine.identify(self._identify_deadline_s)
                self._check(self._engine)
                health.set_reachable()
            elif not was_reachable:
                health.recovered()
        except ConfigError:
            raise
        except ServiceError as error:
            health.set_unreachable(_reason(error), str(error))
            if was_reachable or not self.first_answer.is_set():
                _logger.warning("Docker Engine cannot be used: %s", error)
            return
        if not was_reachable:
            version = self._engine.version.get("Version", "?")
            _logger.info(
                "Docker Engine %s answers at %s (API %d.%d)",
                version,
                self._engine.endpoint,
                *self._engine.api_version,
            )


def _reason(error: ServiceError) -> str:
    if isinstance(error, EngineAbsent):
        return error.reason
    if isinstance(error, DeadlineExceeded):
        return "EngineNotAnswering"
    if isinstance(error, PermissionDenied):
        return "EnginePermissionDenied"
    if isinstance(error, FailedPrecondition):
        return "EngineUnsuitable"
    return "EngineNotReachable"
