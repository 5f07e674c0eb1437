"""Each change of the node runs as a keyed operation that outlives its caller.

A client that gives up (kubelet's deadline, a lost connection) does not interrupt a change; its
retry, which asks for the same change of the same object, joins the one under way. Different changes
of one object wait for each other in order, under the lock of their key.

A change that makes or starts something in a sandbox (CreateContainer, StartContainer) holds a
ticket for it from its request on. A change that ends something (stop, remove) closes it first: a
ticket for which the engine was not asked yet is refused, new ones are not given, and the others are
waited for. So a stop knows of every start under way, also of one whose caller is gone.

The order of locks, which prevents a deadlock: the operation of a sandbox may
close, and wait for the tickets of, its containers; the operation of a container waits for no
sandbox. Closing takes no lock and never waits; only waiting for tickets does, and that has an
end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from asupervisor.errors import FailedPrecondition, Unavailable
from asupervisor.locks import KeyedLock
from asupervisor.node.records import ContainerRecord, SandboxRecord
from asupervisor.proto import cri
from asupervisor.single_flight import Flight
from asupervisor.translate.names import parse_container_name

_DOUBTS = 1024

T = TypeVar("T")


def operation_key(record: SandboxRecord | ContainerRecord) -> str:
    """The key of an object's operations: its engine name without what a name conflict appended,
    which is the key that it was made under; its id where it does not have such a name.
    """
    name = parse_container_name(record.engine_name)
    return str(name) if name is not None else record.engine_name or record.id


class Ticket:
    """The permission of one change to ask the engine.

    Args:
        within: ids of what must stay open for it: the sandbox, the container.
    """

    __slots__ = ("committed", "ended", "refusal", "within")

    def __init__(self, within: tuple[str, ...]) -> None:
        self.within = within
        self.committed = False
        self.ended = anyio.Event()
        self.refusal = ""

    def commit(self) -> None:
        """Called right before the engine is asked: from then on a closing waits for this change.

        Raises:
            FailedPrecondition: its sandbox or container was closed since the request.
        """
        if self.refusal:
            raise FailedPrecondition(self.refusal, subject=self.within[-1])
        self.committed = True


class Closing:
    """Something that is being ended, and the changes that the engine was asked for before.

    Args:
        tickets: of those changes.
    """

    def __init__(self, tickets: list[Ticket]) -> None:
        self._tickets = tickets

    @property
    def under_way(self) -> bool:
        """Whether one of those changes has not ended."""
        return any(not ticket.ended.is_set() for ticket in self._tickets)

    async def ended(self, within_s: float) -> bool:
        """Wait until all of them have ended.

        Args:
            within_s: seconds.

        Returns:
            Whether they have.
        """
        with anyio.move_on_after(within_s):
            for ticket in self._tickets:
                await ticket.ended.wait()
        return not self.under_way


class _Operation(Flight[T]):
    __slots__ = ("started_at", "ticket")

    def __init__(self, key: str, action: str, ticket: Ticket | None) -> None:
        super().__init__(f"{action} of {key}", key)
        self.ticket = ticket
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
        self._tickets: set[Ticket] = set()
        self._closed: list[tuple[str, str]] = []
        self._doubts: dict[str, None] = {}
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
            work: the change; it runs to its end whether or not a caller still waits.

        Raises:
            ServiceError: what the work raised, in each of the callers.
            Unavailable: the service is stopping.
        """
        operation: _Operation[T]
        operation = self._running.get((key, action)) or self._begin(key, action, work, None)
        return await operation.wait()

    async def run_within(
        self, within: tuple[str, ...], key: str, action: str, work: Callable[[Ticket], Awaitable[T]]
    ) -> T:
        """As :meth:`run`, for a change that makes or starts something.

        Args:
            within: ids of what must stay open for it: the sandbox, the container.
            work: the change; it commits its ticket right before it asks the engine.

        Raises:
            FailedPrecondition: something of it is being ended.
        """
        operation: _Operation[T] | None = self._running.get((key, action))
        if operation is None:
            for any_id, reason in self._closed:
                if any_id in within:
                    raise FailedPrecondition(reason, subject=any_id)
            ticket = Ticket(within)
            operation = self._begin(key, action, partial(work, ticket), ticket)
        return await operation.wait()

    @contextmanager
    def closing(self, any_id: str, reason: str) -> Iterator[Closing]:
        """End something: as long as the body runs, no change of it begins at the engine.

        Args:
            any_id: of a sandbox or container.
            reason: told to the changes that are refused.
        """
        entry = (any_id, reason)
        self._closed.append(entry)
        begun = []
        for ticket in self._tickets:
            if any_id not in ticket.within:
                continue
            if ticket.committed:
                begun.append(ticket)
            else:
                ticket.refusal = reason
        try:
            yield Closing(begun)
        finally:
            self._closed.remove(entry)

    def pending(self, any_id: str) -> bool:
        """Whether a change that makes or starts something in an object waits or is under way."""
        return any(any_id in ticket.within for ticket in self._tickets)

    def doubt(self, container_id: str) -> None:
        """A start was asked for and its end was not seen: the engine may still work on it, whatever
        a reading of the container shows.
        """
        self._doubts[container_id] = None
        if len(self._doubts) > _DOUBTS:
            del self._doubts[next(iter(self._doubts))]

    def doubtful(self, record: ContainerRecord) -> bool:
        """Whether a container may have been started although its record does not say so."""
        return record.status.state == cri.CONTAINER_CREATED and record.id in self._doubts

    def _begin(
        self, key: str, action: str, work: Callable[[], Awaitable[T]], ticket: Ticket | None
    ) -> _Operation[T]:
        if not self._accepting:
            raise Unavailable(
                f"the service is stopping; {action} of {key} was not begun", subject=key
            )
        operation = self._running[key, action] = _Operation[T](key, action, ticket)
        if ticket is not None:
            self._tickets.add(ticket)
        self._idle = anyio.Event()
        self._tasks.start_soon(self._run, key, action, operation, work, name=f"{action} {key}")
        return operation

    async def _run(
        self, key: str, action: str, operation: _Operation[T], work: Callable[[], Awaitable[T]]
    ) -> None:
        async def locked() -> T:
            async with self._locks.hold(key):
                return await work()

        try:
            await operation.run(locked)
        finally:
            del self._running[key, action]
            if operation.ticket is not None:
                self._tickets.discard(operation.ticket)
                operation.ticket.ended.set()
            if not self._running:
                self._idle.set()

    async def drain(self) -> None:
        """Begin nothing more and return once nothing is under way."""
        self._accepting = False
        if self._running:
            await self._idle.wait()
