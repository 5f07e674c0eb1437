"""Wakes who waits for a container by the server's events; one subscription serves them all.

An event is only a hint: a waiter looks again after a while without one. So with a server that has
no events, or after a lost stream, it waits a little longer and misses nothing."""

from __future__ import annotations

from contextlib import aclosing

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.errors import ServiceError, Unimplemented
from asupervisor.remote import RemoteRuntimeService

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


class Changes:
    """The changes of one server's containers.

    Args:
        runtime: of the server.
        tasks: in which the subscription runs.
    """

    def __init__(self, runtime: RemoteRuntimeService, tasks: BackgroundTasks) -> None:
        self._runtime = runtime
        self._tasks = tasks
        self._waiting: dict[anyio.Event, str] = {}
        self._follows = False

    async def next(self, container_id: str, at_most_s: float) -> None:
        """Wait for an event of the container, or for so many seconds."""
        if not self._follows:
            self._follows = True
            self._tasks.start_soon(self._follow)
        event = anyio.Event()
        self._waiting[event] = container_id
        try:
            with anyio.move_on_after(at_most_s):
                await event.wait()
        finally:
            del self._waiting[event]

    async def _follow(self) -> None:
        try:
            async with aclosing(self._runtime.get_container_events()) as events:
                async for event in events:
                    for waiter, container_id in self._waiting.items():
                        if container_id == event.container_id:
                            waiter.set()
        except Unimplemented:
            return  # this server has none: never try again
        except ServiceError:
            pass
        self._follows = False


class Pauses:
    """The pauses between looks at one container: each longer than the one before; an event of the
    container ends one early.
    """

    def __init__(self, changes: Changes, container_id: str) -> None:
        self._changes = changes
        self._container_id = container_id
        self._pause_s = _FIRST_PAUSE_S

    async def __call__(self) -> None:
        """Pause."""
        await self._changes.next(self._container_id, self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
