"""Container events out of the node state, for any number of subscribers (CRI GetContainerEvents).

An event is made when the node state shows the change, so whoever asks for a status after it sees at
least that state. Each event carries the sandbox's status and the statuses of all its containers of
that moment, encoded once for all subscribers. Between two readings of a container more than one
thing may have happened to it; then each event is told, in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from enum import Enum

import anyio

from asupervisor.errors import ResourceExhausted, Unavailable
from asupervisor.node.records import ContainerRecord, SandboxRecord, encode_field, encode_tag
from asupervisor.node.store import Change, NodeStore
from asupervisor.proto import cri

BUFFER_EVENTS = 1000
"""How many events may wait for one subscriber before it is told that it fell behind."""


class _Subscriber:
    """The events that wait for one subscriber."""

    __slots__ = ("arrived", "end", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.arrived = anyio.Event()
        self.end: ResourceExhausted | Unavailable | None = None

    def finish(self, error: ResourceExhausted | Unavailable) -> None:
        self.end = error
        self.arrived.set()


class EventHub:
    """Turns changes of the node state into events and hands them to the subscribers.

    Args:
        store: followed from now on.
        buffer_events: how many events may wait for one subscriber.
        on_subscribers: told the number of subscribers whenever it changes (metrics).
        on_dropped: told whenever a subscriber fell behind (metrics).
    """

    def __init__(
        self,
        store: NodeStore,
        *,
        buffer_events: int = BUFFER_EVENTS,
        on_subscribers: Callable[[int], None] = lambda number: None,
        on_dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._buffer_events = buffer_events
        self._on_subscribers = on_subscribers
        self._on_dropped = on_dropped
        self._subscribers: set[_Subscriber] = set()
        self._last_ns = 0
        self._closed = False
        store.listen(self._changed)

    def close(self) -> None:
        """End every subscription, and each later one at once: the service is stopping."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.finish(
                Unavailable("the service is stopping; subscribe again when it is back")
            )

    async def subscribe(self) -> AsyncGenerator[bytes, None]:
        """Every event from now on, as an encoded ContainerEventResponse.

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
        self._subscribers.add(subscriber)
        self._on_subscribers(len(self._subscribers))
        try:
            while True:
                while subscriber.waiting:
                    yield subscriber.waiting.popleft()
                if subscriber.end is not None:
                    raise subscriber.end
                subscriber.arrived = anyio.Event()
                await subscriber.arrived.wait()
        finally:
            self._subscribers.discard(subscriber)
            self._on_subscribers(len(self._subscribers))

    def _changed(self, change: Change) -> None:
        if not self._subscribers:
            return
        for kind in event_types(change):
            self._publish(self._encode(change, kind))

    def _encode(self, change: Change, kind: cri.ContainerEventType) -> bytes:
        record = change.after or change.before
        assert record is not None
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        event = cri.ContainerEventResponse(
            container_id=record.id, container_event_type=kind, created_at=self._last_ns
        )
        if isinstance(record, SandboxRecord):
            sandbox_id, status = (
                record.id,
                retag(4, record.status_bytes) if change.after is not None else _ended(record),
            )
        else:
            sandbox_id, sandbox = record.sandbox_id, self._store.sandboxes.get(record.sandbox_id)
            status = retag(4, sandbox.status_bytes) if sandbox is not None else b""
        containers = [retag(5, one.status_bytes) for one in self._store.containers_of(sandbox_id)]
        return b"".join([event.SerializeToString(), status, *containers])

    def _publish(self, event: bytes) -> None:
        for subscriber in self._subscribers:
            if subscriber.end is not None:
                continue
            if len(subscriber.waiting) >= self._buffer_events:
                self._on_dropped()
                subscriber.finish(
                    ResourceExhausted(
                        f"the subscriber fell behind: {self._buffer_events} events wait for it;"
                        " list again, then subscribe again"
                    )
                )
                continue
            subscriber.waiting.append(event)
            subscriber.arrived.set()


def retag(number: int, field: bytes) -> bytes:
    """An encoded length-delimited field under another number; both below 16."""
    return encode_tag(number, 0)[:1] + field[1:]


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
