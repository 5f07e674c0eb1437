"""Asks the engine, all the time, whether it is there: pings within a deadline, versions and
capabilities when it (re)appears.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

from asupervisor.conditions import Reason
from asupervisor.engine.client import EngineClient
from asupervisor.engine.session import EngineAbsent
from asupervisor.errors import (
    ConfigError,
    DeadlineExceeded,
    FailedPrecondition,
    PermissionDenied,
    ServiceError,
)

_logger = logging.getLogger(__name__)
_PINGS = 2
_SLICES = 10
_HARD_DEADLINE_S = 60.0
"""Deadline of a ping by the clock, however little of that time this process ran."""


def explain(error: ServiceError) -> tuple[Reason, str]:
    """Why the engine cannot be used, from what a question raised: reason and sentence."""
    if isinstance(error, EngineAbsent):
        reason = error.reason
    elif isinstance(error, DeadlineExceeded):
        reason = Reason.ENGINE_NOT_ANSWERING
    elif isinstance(error, PermissionDenied):
        reason = Reason.ENGINE_PERMISSION_DENIED
    elif isinstance(error, FailedPrecondition):
        reason = Reason.ENGINE_UNSUITABLE
    else:
        reason = Reason.ENGINE_FAILING
    return reason, str(error)


class Probe:
    """Writes whether the engine is reachable.

    Args:
        engine: probed.
        interval_s: seconds between two pings.
        deadline_s: seconds that a ping may take; only time in which this process ran counts. Two
            pings in a row must be late; with ``interval_s`` that bounds how late a frozen engine is
            noticed.
        identify_deadline_s: seconds that the questions on (re)appearance may take.
        check: raises ConfigError for an engine that contradicts the settings, which ends the
            service.
        explain: gives reason and message of an engine that cannot be used.
    """

    def __init__(
        self,
        engine: EngineClient,
        interval_s: float,
        deadline_s: float,
        identify_deadline_s: float = 10.0,
        check: Callable[[EngineClient], None] = lambda engine: None,
        explain: Callable[[ServiceError], tuple[Reason, str]] = explain,
    ) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._identify_deadline_s = identify_deadline_s
        self._check = check
        self._explain = explain
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
            await self._ping(_PINGS if was_reachable else 1)
            if not was_reachable:
                if not health.synced:
                    # It may have been restarted, or replaced by another version.
                    await self._engine.identify(self._identify_deadline_s)
                    self._check(self._engine)
                health.set_reachable()
        except ConfigError:
            raise
        except ServiceError as error:
            # The log of the conditions tells the operator.
            health.set_unreachable(*self._explain(error))
            return
        if not was_reachable:
            version = self._engine.version.get("Version", "?")
            _logger.debug(
                "Docker Engine %s answers at %s (API %d.%d)",
                version,
                self._engine.endpoint,
                *self._engine.api_version,
            )

    async def _ping(self, tries: int) -> None:
        """Ping until one is answered; one that is late or lost is not an outage."""
        for left in reversed(range(tries)):
            try:
                await self._ping_once()
            except (EngineAbsent, PermissionDenied):
                raise
            except ServiceError:
                if not left:
                    raise
            else:
                return

    async def _ping_once(self) -> None:
        answered, failure = False, None
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                # In slices: if the event loop is held up, all of that time counts as one slice.
                for _ in range(_SLICES):
                    await anyio.sleep(self._deadline_s / _SLICES)
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            try:
                await self._engine.system.ping(_HARD_DEADLINE_S)
                answered = True
            except ServiceError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not answered:
            raise DeadlineExceeded(
                f"Docker Engine did not answer ping within {self._deadline_s:g} s", operation="ping"
            )
