"""What changes the node runs as a keyed operation that outlives its caller.

A client that gives up (kubelet's deadline, a lost connection) does not tear a half-done change
apart; its retry, which asks for the same change of the same object, joins the one under way.
Different changes of one object wait for each other in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from asupervisor.errors import Internal, ServiceError, Unavailable
from asupervisor.locks import KeyedLock

_logger = logging.getLogger("asupervisor.dockershim.operations")

T = TypeVar("T")


class _Operation(Generic[T]):
    __slots__ = ("done", "error", "name", "result", "started_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = anyio.Event()
        self.result: T | None = None
        self.error: BaseException | None = None
        self.started_at = time.monotonic()


class Operations:
    """The changes under way, by object.

    Args:
        tasks: where they run: the supervisor's own group, not a caller's.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._running: dict[tuple[str, str], _Operation[Any]] = {}
        self._locks = KeyedLock()
        self._accepting = True
        self._idle = anyio.Event()
        self._idle.set()

    @property
    def under_way(self) -> list[tuple[str, str, float]]:
        """``(key, action, seconds since it was asked for)`` of each."""
        now = time.monotonic()
        return [
            (key, action, now - operation.started_at)
            for (key, action), operation in self._running.items()
        ]

    async def run(self, key: str, action: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, or join the same action on the same key that is under way.

        Args:
            key: the object: the engine name of a sandbox or container, which it has before it has
                an id.
            action: what is done to it; with the request's content where that matters for joining.
            work: the change; it runs to its end whether or not somebody still waits.

        Raises:
            ServiceError: what the work raised, in each of the callers.
            Unavailable: the service is stopping.
        """
        operation = self._running.get((key, action))
        if operation is None:
            if not self._accepting:
                raise Unavailable(
                    f"the service is stopping; {action} of {key} was not begun",
                    operation=action,
                    subject=key,
                )
            operation = self._running[key, action] = _Operation(action)
            self._idle = anyio.Event()
            self._tasks.start_soon(self._run, key, action, operation, work, name=f"{action} {key}")
        await operation.done.wait()
        if operation.error is not None:
            raise operation.error
        return operation.result  # type: ignore[return-value]

    async def _run(
        self, key: str, action: str, operation: _Operation[T], work: Callable[[], Awaitable[T]]
    ) -> None:
        try:
            async with self._locks.hold(key):
                operation.result = await work()
        except ServiceError as error:
            operation.error = error
        except Exception as error:
            _logger.exception("%s of %s failed by a defect of this service", action, key)
            operation.error = Internal(
                f"{action} of {key} failed by a defect of this service: {type(error).__name__}",
                subject=key,
            )
        except BaseException:
            operation.error = Unavailable(
                f"the service stopped during {action} of {key}", operation=action, subject=key
            )
            raise
        finally:
            del self._running[key, action]
            operation.done.set()
            if not self._running:
                self._idle.set()

    async def drain(self) -> None:
        """Begin nothing more and return once nothing is under way."""
        self._accepting = False
        if self._running:
            await self._idle.wait()
