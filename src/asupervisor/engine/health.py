"""Whether the engine can be used now, in one object that the probe writes and all others read."""

from __future__ import annotations

import time

import anyio

from asupervisor.conditions import Holds, Reason
from asupervisor.errors import Unavailable


class EngineHealth:
    """The gate in front of the engine: open while it answers and the node state is in step with it.

    Attributes:
        reachable: the engine answers pings.
        synced: the node state was taken from this engine and events have flowed since.
        reason: of the RuntimeReady condition; empty when ready.
        message: what is wrong and what to do; empty when ready.
        changes: how often readiness changed, for logs and tests.
    """

    def __init__(self) -> None:
        self.reachable = False
        self.synced = False
        self.reason: Reason | Holds = Reason.ENGINE_NOT_PROBED
        self.message = "Docker Engine has not been probed yet"
        self.changes = 0
        self.since = time.time()
        self._reachable_event = anyio.Event()
        self._ready_event = anyio.Event()

    @property
    def condition(self) -> tuple[Reason | Holds, str]:
        """Reason and message of the RuntimeReady condition; empty when ready."""
        return ("", "") if self.ready else (self.reason, self.message)

    @property
    def ready(self) -> bool:
        """Whether pods can be run: reachable and in step."""
        return self.reachable and self.synced

    def set_reachable(self) -> None:
        """The engine answers; it is ready if the node state is in step already, as after an engine
        that was only slow, and otherwise not before :meth:`set_synced`.
        """
        if self.reachable:
            return
        self.reachable = True
        self._reachable_event.set()
        if self.synced:
            self._became_ready()
        else:
            self.reason, self.message = (
                Reason.NODE_STATE_NOT_SYNCED,
                "Docker Engine answers; its containers and images are being read",
            )

    def set_synced(self) -> None:
        """The node state is in step with the engine."""
        if self.synced:
            return
        self.synced = True
        if self.reachable:
            self._became_ready()

    def set_stale(self, reason: Reason, message: str) -> None:
        """Events may have been lost: the engine must be probed and the node state read again before
        ready is claimed.
        """
        self.set_unreachable(reason, message)
        self.synced = False

    def set_unreachable(self, reason: Reason, message: str) -> None:
        """The engine does not answer."""
        was_ready = self.ready
        # An event that is not set yet is kept: its waiters would never see another one set.
        if self.reachable:
            self.reachable = False
            self._reachable_event = anyio.Event()
        self.reason, self.message = reason, message
        if was_ready:
            self._changed()
            self._ready_event = anyio.Event()

    def _became_ready(self) -> None:
        self.reason, self.message = "", ""
        self._changed()
        self._ready_event.set()

    def _changed(self) -> None:
        self.changes += 1
        self.since = time.time()

    def require(self, operation: str, subject: str = "") -> None:
        """Fail at once when the engine cannot be asked.

        Raises:
            Unavailable: with the reason that Status gives.
        """
        if not self.reachable:
            raise Unavailable(
                f"cannot {operation}: {self.message}", operation=operation, subject=subject
            )

    async def wait_reachable(self) -> None:
        """Return once the engine answers pings, in step or not."""
        while not self.reachable:
            await self._reachable_event.wait()

    async def wait_ready(self) -> None:
        """Return once the engine is ready."""
        while not self.ready:
            await self._ready_event.wait()
