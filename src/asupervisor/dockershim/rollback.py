"""Undoing the steps of a change that failed half-way: in reverse order, shielded, with a deadline.
What could not be undone is reported.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

import anyio

from asupervisor.errors import RollbackFailed, ServiceError

_logger = logging.getLogger(__name__)
_DEADLINE_S = 30.0
"""For each undo step."""

Step = Callable[[], Awaitable[object]]


class Rollback:
    """``async with Rollback(…) as undo``: each step that was taken pushes its undo; they run when
    the body fails.

    Args:
        operation: what is being done, for errors and logs.
        subject: to what.

    Raises:
        RollbackFailed: the body failed and an undo step failed too.
    """

    def __init__(self, operation: str, subject: str) -> None:
        self._operation = operation
        self._subject = subject
        self._steps: list[tuple[str, Step, bool]] = []

    def push(self, what: str, step: Step, *, only_if_clean: bool = False) -> None:
        """Remember how to undo a step that is about to be done, or was just done.

        Args:
            what: a description, for errors and logs.
            step: the undo; it may be called although its step was not taken.
            only_if_clean: skip it when an undo before it failed: what keeps an object visible is
                removed last, and only if everything else was.
        """
        self._steps.append((what, step, only_if_clean))

    async def __aenter__(self) -> Rollback:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        leftovers: list[str] = []
        for what, step, only_if_clean in reversed(self._steps):
            if leftovers and only_if_clean:
                continue
            with anyio.move_on_after(_DEADLINE_S, shield=True) as scope:
                try:
                    await step()
                except ServiceError as failure:
                    leftovers.append(f"{what}: {failure}")
                except Exception as failure:
                    # A defect in one undo step must not prevent the others.
                    _logger.exception(
                        "%s of %s: a defect of this service in the undo step: %s",
                        self._operation,
                        self._subject,
                        what,
                    )
                    leftovers.append(f"{what}: {failure!r}")
            if scope.cancelled_caught:
                leftovers.append(f"{what}: not done within {_DEADLINE_S:g} s")
        for leftover in leftovers:
            _logger.error(
                "%s of %s failed, and so did undoing it: %s",
                self._operation,
                self._subject,
                leftover,
            )
        if leftovers and isinstance(error, Exception):
            raise RollbackFailed(
                error, leftovers=tuple(leftovers), subject=self._subject
            ) from error
