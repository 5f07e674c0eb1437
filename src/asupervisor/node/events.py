"""Container events out of the node state, for any number of subscribers (CRI GetContainerEvents).

An event is made when the node state shows the change, so a status asked for after it shows at least
that state. Each event carries the sandbox's status and the statuses of all its containers of that
moment, encoded once for all subscribers. Between two readings of a container more than one thing
may have happened to it; then each event is sent, in order.

Events tell only what is known. A subscriber that comes before the containers were listed once first
gets what that list has, and the events of a pod wait until everything in it was read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from enum import Enum

import anyio

from asupervisor.background_tasks import BackgroundTasks, cancel_when
from asupervisor.errors import ResourceExhausted, Unavailable
from asupervisor.node.records import ContainerRecord, SandboxRecord
from asupervisor.node.store import Change, NodeStore
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field, retag

BUFFER_EVENTS = 1000
"""How many events may wait for one subscriber before it is told that it fell behind."""
BUFFER_BYTES = 16 << 20
"""Bytes of them. An event carries the annotations of everything in its pod."""
TOTAL_BYTES = 64 << 20
"""Bytes that may wait for all subscribers together."""


class _Subscriber:
    """The events that wait for one subscriber."""

    __slots__ = ("arrived", "end", "size", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.size = 0
        self.arrived = anyio.Event()
        self.end: ResourceExhausted | Unavailable | None = None

    def put(self, event: bytes) -> None:
        self.waiting.append(event)
        self.size += len(event)
        self.arrived.set()

    def take(self) -> bytes:
        event = self.waiting.popleft()
        self.size -= len(event)
        return event

    def finish(self, error: ResourceExhausted | Unavailable) -> None:
        self.end = error
        self.arrived.set()


class EventHub:
    """Turns changes of the node state into events and hands them to the subscribers.

    Args:
        store: followed from now on.
        buffer_events, buffer_bytes: how many events, and bytes of them, may wait for one
            subscriber.
        total_bytes: how many bytes may wait for all of them together.
        on_subscribers: told the number of subscribers whenever it changes (metrics).
        on_dropped: told whenever a subscriber fell behind (metrics).
    """

    def __init__(
        self,
        store: NodeStore,
        *,
        buffer_events: int = BUFFER_EVENTS,
        buffer_bytes: int = BUFFER_BYTES,
        total_bytes: int = TOTAL_BYTES,
        on_subscribers: Callable[[int], None] = lambda number: None,
        on_dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._buffer_events = buffer_events
        self._buffer_bytes = buffer_bytes
        self._total_bytes = total_bytes
        self._on_subscribers = on_subscribers
        self._on_dropped = on_dropped
        self._subscribers: set[_Subscriber] = set()
        self._early: set[_Subscriber] = set()
        self._deferred: dict[str, list[Change]] = {}
        """What happened in pods that were not wholly read yet."""
        self._last_ns = 0
        self._closed = False
        store.listen(self._changed)

    def close(self) -> None:
        """End every subscription, and each later one at once: the service is stopping."""
        self._closed = True
        for subscriber in self._subscribers | self._early:
            subscriber.finish(
                Unavailable("the service is stopping; subscribe again when it is back")
            )

    async def subscribe(self) -> AsyncGenerator[bytes, None]:
        """Every event from now on, as an encoded ContainerEventResponse. Before the containers were
        listed once, it first waits for that and then gives the events of each that is there, since
        its subscriber cannot have listed them.

        Events that wait are still delivered when the subscription ends.

        Raises:
            ResourceExhausted: the subscriber fell behind; it has to list again, then subscribe
                again.
            Unavailable: the service is stopping.
        """
        subscriber = _Subscriber()
        if self._closed:
            subscriber.finish(
                Unavailable("the service is stopping; subscribe again when it is back")
            )
        early = not self._store.containers_known.complete
        (self._early if early else self._subscribers).add(subscriber)
        self._on_subscribers(len(self._subscribers | self._early))
        try:
            if early:
                await self._first_listing(subscriber)
                for change in self._there(subscriber):
                    for kind in event_types(change):
                        yield self._encode(change, kind)
            while True:
                while subscriber.waiting:
                    yield subscriber.take()
                if subscriber.end is not None:
                    raise subscriber.end
                subscriber.arrived = anyio.Event()
                await subscriber.arrived.wait()
        finally:
            self._early.discard(subscriber)
            self._subscribers.discard(subscriber)
            self._on_subscribers(len(self._subscribers | self._early))

    async def _first_listing(self, subscriber: _Subscriber) -> None:
        async with BackgroundTasks() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_when, subscriber.arrived, scope)
                await self._store.containers_known.wait()

    def _there(self, subscriber: _Subscriber) -> Iterator[Change]:
        """Everything that is there, as if it were made now, for one subscriber; later events wait
        until it has them.
        """
        self._early.discard(subscriber)
        if subscriber.end is not None:
            return
        self._subscribers.add(subscriber)
        changes = [
            *(Change("sandbox", None, one) for one in self._store.sandboxes.values()),
            *(Change("container", None, one) for one in self._store.containers.values()),
        ]
        for change in changes:
            record = change.after
            assert record is not None
            if self._store.absent(record.id):
                continue  # its removal is the next event
            if self._store.whole(_pod_of(record)):
                yield change

    def _changed(self, change: Change) -> None:
        if not self._subscribers:
            self._deferred.clear()
            return
        record = change.after or change.before
        assert record is not None
        sandbox_id = _pod_of(record)
        changes = [*self._deferred.pop(sandbox_id, ()), change]
        if not self._store.whole(sandbox_id):
            self._deferred[sandbox_id] = changes[-self._buffer_events :]
            return
        for one in changes:
            for kind in event_types(one):
                self._publish(self._encode(one, kind))

    def _encode(self, change: Change, kind: cri.ContainerEventType) -> bytes:
        record = change.after or change.before
        assert record is not None
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        event = cri.ContainerEventResponse(
            container_id=record.id, container_event_type=kind, created_at=self._last_ns
        )
        if isinstance(record, SandboxRecord):
            sandbox_id = record.id
            status = retag(4, record.status_bytes) if change.after is not None else _ended(record)
        else:
            sandbox_id, sandbox = record.sandbox_id, self._store.sandboxes.get(record.sandbox_id)
            status = retag(4, sandbox.status_bytes) if sandbox is not None else b""
        containers = [
            retag(5, one.status_bytes)
            for one in self._store.containers_of(sandbox_id)
            if not self._store.conceals(one)
        ]
        return b"".join([event.SerializeToString(), status, *containers])

    def _publish(self, event: bytes) -> None:
        for subscriber in self._subscribers:
            if subscriber.end is not None:
                continue
            if (
                len(subscriber.waiting) >= self._buffer_events
                or subscriber.size + len(event) > self._buffer_bytes
            ):
                self._drop(subscriber)
                continue
            subscriber.put(event)
        while sum(one.size for one in self._subscribers if one.end is None) > self._total_bytes:
            self._drop(
                max((one for one in self._subscribers if one.end is None), key=lambda one: one.size)
            )

    def _drop(self, subscriber: _Subscriber) -> None:
        self._on_dropped()
        subscriber.finish(
            ResourceExhausted(
                f"the subscriber fell behind: {len(subscriber.waiting)} events"
                f" ({subscriber.size} bytes) wait for it; list again, then subscribe again"
            )
        )


def _pod_of(record: SandboxRecord | ContainerRecord) -> str:
    return record.id if isinstance(record, SandboxRecord) else record.sandbox_id


def event_types(change: Change) -> Iterator[cri.ContainerEventType]:
    """What happened, in order: a container that is first seen running was created and started, one
    that is gone had stopped.
    """
    before, after = change.before, change.after
    was, now = _stage(before), _stage(after)
    if before is None:
        yield cri.CONTAINER_CREATED_EVENT
    if was is not _Stage.RUNNING and (
        now is _Stage.RUNNING or (was is _Stage.CREATED and now is _Stage.ENDED and _ran(after))
    ):
        yield cri.CONTAINER_STARTED_EVENT
    if (was is _Stage.RUNNING and now is not was) or (
        was is _Stage.CREATED and now is _Stage.ENDED
    ):
        yield cri.CONTAINER_STOPPED_EVENT
    if after is None:
        yield cri.CONTAINER_DELETED_EVENT


class _Stage(Enum):
    CREATED = 0
    RUNNING = 1
    ENDED = 2


_STAGES = {cri.CONTAINER_RUNNING: _Stage.RUNNING, cri.CONTAINER_EXITED: _Stage.ENDED}


def _stage(record: SandboxRecord | ContainerRecord | None) -> _Stage:
    """How far it is; a sandbox that is not ready does not tell whether it ever was."""
    if isinstance(record, ContainerRecord):
        return _STAGES.get(record.status.state, _Stage.CREATED)
    return _Stage.RUNNING if record is not None and record.ready else _Stage.CREATED


def _ran(record: SandboxRecord | ContainerRecord | None) -> bool:
    return isinstance(record, ContainerRecord) and record.status.started_at > 0


def _ended(record: SandboxRecord) -> bytes:
    """The status of a sandbox that is gone: not ready, whatever it was when it was last seen."""
    status = cri.PodSandboxStatus()
    status.CopyFrom(record.status)
    status.state = cri.SANDBOX_NOTREADY
    return encode_field(4, status)
