"""Every condition of the service in one place: whether it holds, why not, since when.

The log, systemd's STATUS, the CRI's Status, the health service and the HTTP pages all read it here,
so that they always say the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import anyio

SERVICE, RUNTIME, NETWORK = "ServiceReady", "RuntimeReady", "NetworkReady"
"""The service itself, and the two conditions of the CRI."""
_LOOK_S = 0.5


class Reason(StrEnum):
    """Every reason for which a condition does not hold; ``asupervisor doctor`` knows them."""

    SERVICE_STARTING = "ServiceStarting"
    SERVICE_STOPPING = "ServiceStopping"
    ENGINE_NOT_PROBED = "EngineNotProbed"
    ENGINE_NOT_INSTALLED = "EngineNotInstalled"
    ENGINE_NOT_RUNNING = "EngineNotRunning"
    ENGINE_STARTING = "EngineStarting"
    ENGINE_PERMISSION_DENIED = "EnginePermissionDenied"
    ENGINE_UNREACHABLE = "EngineUnreachable"
    ENGINE_NOT_ANSWERING = "EngineNotAnswering"
    ENGINE_UNSUITABLE = "EngineUnsuitable"
    ENGINE_FAILING = "EngineNotReachable"
    ENGINE_EVENTS_LOST = "EngineEventsLost"
    NODE_STATE_NOT_SYNCED = "NodeStateNotSynced"
    NETWORK_NOT_READY = "NetworkPluginNotReady"


Holds = Literal[""]
"""In place of a reason: the condition holds."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Args:
        kind: its name.
        ready: whether it holds.
        reason: empty where it holds.
        message: what is wrong and what to do; empty where it holds.
        since: Unix time in seconds since which it holds, or does not hold.
    """

    kind: str
    ready: bool
    reason: Reason | Holds
    message: str
    since: float


Source = Callable[[], tuple[Reason | Holds, str]]
"""Reason and message of a condition now; an empty reason where it holds. It must not wait."""


class Conditions:
    """The conditions of one service. Each has a source, which every reader asks anew, so that no
    answer is out of date.
    """

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._last: dict[str, Condition] = {}
        self._phase: tuple[Reason | Holds, str]
        self._phase = Reason.SERVICE_STARTING, "the service is starting"
        self._changed = anyio.Event()
        self.follow(SERVICE, lambda: self._phase)

    def follow(self, kind: str, source: Source) -> None:
        """Add a condition."""
        self._sources[kind] = source

    def started(self) -> None:
        """The service itself is up."""
        self._phase = ("", "")
        self.look()

    def stopping(self) -> None:
        """The service begins to stop; it never is up again."""
        self._phase = (Reason.SERVICE_STOPPING, "the service is stopping")
        self.look()

    @property
    def is_stopping(self) -> bool:
        """Whether the service stops."""
        return self._phase[0] == Reason.SERVICE_STOPPING

    def get(self, kind: str) -> Condition:
        """One condition as it is now.

        Raises:
            KeyError: there is none of that name.
        """
        reason, message = self._sources[kind]()
        last = self._last.get(kind)
        if last is not None and (last.reason, last.message) == (reason, message):
            return last
        ready = not reason
        since = last.since if last is not None and last.ready is ready else time.time()
        now = self._last[kind] = Condition(kind, ready, reason, message, since)
        self._changed.set()
        return now

    def look(self) -> tuple[Condition, ...]:
        """All of them as they are now. If one has changed, :meth:`change` returns."""
        return tuple(self.get(kind) for kind in self._sources)

    @property
    def ready(self) -> bool:
        """Whether all of them hold: the node can run pods."""
        return not self.reasons

    @property
    def reasons(self) -> list[str]:
        """Why not, one sentence each; empty when ready."""
        return [condition.message for condition in self.look() if not condition.ready]

    async def change(self, seen: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """Wait until a condition differs from ``seen``, and return all of them as they are then.

        A change that nobody looks at meanwhile is noticed within half a second."""
        while True:
            self._changed = anyio.Event()
            now = self.look()
            if now != seen:
                return now
            with anyio.move_on_after(_LOOK_S):
                await self._changed.wait()
