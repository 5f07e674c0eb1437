"""Container events out of changes of the node state."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

import anyio
import pytest

from asupervisor.errors import ResourceExhausted, Unavailable
from asupervisor.node.events import EventHub, event_types
from asupervisor.node.records import (
    ContainerId,
    ContainerRecord,
    SandboxId,
    SandboxRecord,
)
from asupervisor.node.store import Change, NodeStore
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field

CREATED, STARTED = cri.CONTAINER_CREATED_EVENT, cri.CONTAINER_STARTED_EVENT
STOPPED, DELETED = cri.CONTAINER_STOPPED_EVENT, cri.CONTAINER_DELETED_EVENT


def sandbox(any_id: str = "s1", ready: bool = True) -> SandboxRecord:
    status = cri.PodSandboxStatus(
        id=any_id,
        metadata=cri.PodSandboxMetadata(uid="u1"),
        state=cri.SANDBOX_READY if ready else cri.SANDBOX_NOTREADY,
    )
    return SandboxRecord(
        id=SandboxId(any_id),
        status=status,
        engine_name="",
        runtime="",
        host_network=False,
        pid=1,
        known_to_engine=True,
        complete=True,
        cgroup_parent="",
        resolv_conf_path="",
        item_bytes=b"",
        status_bytes=encode_field(1, status),
    )


def container(
    state: cri.ContainerState, any_id: str = "c1", started: bool = True
) -> ContainerRecord:
    status = cri.ContainerStatus(
        id=any_id, state=state, started_at=5 if started and state != cri.CONTAINER_CREATED else 0
    )
    return ContainerRecord(
        id=ContainerId(any_id),
        sandbox_id=SandboxId("s1"),
        status=status,
        engine_name="",
        image_name="",
        pid=0,
        tty=False,
        stdin=False,
        stdin_once=False,
        log_path="",
        engine_log_path="",
        log_driver="",
        upper_dir="",
        resolv_conf_path="",
        cgroup_parent="",
        runtime="",
        item_bytes=b"",
        status_bytes=encode_field(1, status),
    )


created, running, exited = (
    container(state)
    for state in (cri.CONTAINER_CREATED, cri.CONTAINER_RUNNING, cri.CONTAINER_EXITED)
)
failed = container(cri.CONTAINER_EXITED, started=False)


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (None, created, [CREATED]),
        (created, running, [STARTED]),
        (running, replace(running, pid=7), []),
        (running, exited, [STOPPED]),
        (exited, exited, []),
        (exited, None, [DELETED]),
        (created, None, [DELETED]),
        (created, exited, [STARTED, STOPPED]),
        (created, failed, [STOPPED]),
        (None, running, [CREATED, STARTED]),
        (None, exited, [CREATED, STARTED, STOPPED]),
        (running, None, [STOPPED, DELETED]),
        (None, sandbox(ready=False), [CREATED]),
        (sandbox(ready=False), sandbox(), [STARTED]),
        (None, sandbox(), [CREATED, STARTED]),
        (sandbox(), sandbox(), []),
        (sandbox(), sandbox(ready=False), [STOPPED]),
        (sandbox(ready=False), None, [DELETED]),
        (sandbox(), None, [STOPPED, DELETED]),
    ],
)
def test_what_happened_in_order(
    before: ContainerRecord | SandboxRecord | None,
    after: ContainerRecord | SandboxRecord | None,
    events: list[int],
) -> None:
    kind = "sandbox" if isinstance(after or before, SandboxRecord) else "container"
    assert list(event_types(Change(kind, before, after))) == events  # type: ignore[arg-type]


async def test_statuses_of_the_moment_for_every_subscriber_in_order() -> None:
    store = NodeStore()
    store.containers_known.set()
    numbers: list[int] = []
    hub = EventHub(store, on_subscribers=numbers.append)
    store.put_sandbox(sandbox("s0"))
    seen: dict[int, list[cri.ContainerEventResponse]] = {0: [], 1: []}

    async def read(number: int) -> None:
        async with aclosing(hub.subscribe()) as events:
            async for event in events:
                seen[number].append(cri.ContainerEventResponse.FromString(event))
                if (
                    seen[number][-1].container_event_type == DELETED
                    and seen[number][-1].container_id == "s1"
                ):
                    return

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, 0)
            tasks.start_soon(read, 1)
            await anyio.wait_all_tasks_blocked()
            store.put_sandbox(sandbox())
            store.put_container(created)
            store.put_container(running)
            store.put_container(exited)
            store.remove("c1")
            store.remove("s1")
    assert seen[0] == seen[1]
    told = [(event.container_id, event.container_event_type) for event in seen[0]]
    assert told == [
        ("s1", CREATED),
        ("s1", STARTED),
        ("c1", CREATED),
        ("c1", STARTED),
        ("c1", STOPPED),
        ("c1", DELETED),
        ("s1", STOPPED),
        ("s1", DELETED),
    ]
    times = [event.created_at for event in seen[0]]
    assert times == sorted(set(times)) and times[0] > 0
    assert [event.pod_sandbox_status.id for event in seen[0]] == ["s1"] * 8
    assert [[one.state for one in event.containers_statuses] for event in seen[0]] == [
        [],
        [],
        [cri.CONTAINER_CREATED],
        [cri.CONTAINER_RUNNING],
        [cri.CONTAINER_EXITED],
        [],
        [],
        [],
    ]
    assert seen[0][-1].pod_sandbox_status.state == cri.SANDBOX_NOTREADY, "what is gone is not ready"
    assert numbers == [1, 2, 1, 0]


async def test_a_subscriber_that_falls_behind_is_told_and_delays_nobody() -> None:
    store = NodeStore()
    store.containers_known.set()
    dropped: list[int] = []
    hub = EventHub(store, buffer_events=3, on_dropped=lambda: dropped.append(1))
    slow, quick = hub.subscribe(), hub.subscribe()
    got: list[str] = []

    async def read() -> None:
        async for event in quick:
            got.append(cri.ContainerEventResponse.FromString(event).container_id)
            if got[-1] == "c9":
                return

    async def begin() -> None:
        assert cri.ContainerEventResponse.FromString(await anext(slow)).container_id == "c0"

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin)
            tasks.start_soon(read)
            for number in range(10):
                await anyio.wait_all_tasks_blocked()
                store.put_container(container(cri.CONTAINER_CREATED, f"c{number}"))
        assert got == [f"c{number}" for number in range(10)]
        waiting = [
            cri.ContainerEventResponse.FromString(await anext(slow)).container_id for _ in range(3)
        ]
        assert waiting == ["c1", "c2", "c3"], "what waited is still delivered"
        with pytest.raises(ResourceExhausted, match="fell behind"):
            await anext(slow)
    assert dropped == [1]
    await quick.aclose()


async def test_the_end_of_the_service_ends_every_subscription() -> None:
    store = NodeStore()
    store.containers_known.set()
    hub = EventHub(store)
    subscription = hub.subscribe()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                with pytest.raises(Unavailable):
                    await anext(subscription)

            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            hub.close()
        with pytest.raises(Unavailable):
            await anext(hub.subscribe())


def of(event: bytes) -> tuple[str, int, list[str]]:
    """Whose event it is, its kind, and the containers whose statuses it carries."""
    read = cri.ContainerEventResponse.FromString(event)
    return (
        read.container_id,
        read.container_event_type,
        [one.id for one in read.containers_statuses],
    )


async def test_who_subscribes_early_is_told_what_is_there_once_all_of_it_is_known() -> None:
    store = NodeStore()
    hub = EventHub(store)
    told: list[tuple[str, int, list[str]]] = []

    async def subscribe() -> None:
        async with aclosing(hub.subscribe()) as events:
            async for event in events:
                told.append(of(event))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(subscribe)
        await anyio.wait_all_tasks_blocked()
        store.put_sandbox(sandbox())
        store.put_container(running)
        await anyio.wait_all_tasks_blocked()
        assert told == [], "half of a node is not told"
        store.containers_known.set()
        await anyio.wait_all_tasks_blocked()
        assert told == [
            ("s1", CREATED, ["c1"]),
            ("s1", STARTED, ["c1"]),
            ("c1", CREATED, ["c1"]),
            ("c1", STARTED, ["c1"]),
        ]
        store.put_container(exited)
        await anyio.wait_all_tasks_blocked()
        assert told[4:] == [("c1", STOPPED, ["c1"])]
        tasks.cancel_scope.cancel()


async def test_an_early_subscription_ends_with_the_service() -> None:
    hub = EventHub(NodeStore())

    async def subscribe() -> None:
        with pytest.raises(Unavailable):
            async with aclosing(hub.subscribe()) as events:
                await anext(events)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(subscribe)
        await anyio.wait_all_tasks_blocked()
        hub.close()


async def test_the_events_of_a_pod_wait_until_everything_in_it_was_read() -> None:
    store = NodeStore()
    hub = EventHub(store)
    told: list[tuple[str, int, list[str]]] = []
    late = container(cri.CONTAINER_RUNNING, "c2")
    store.put_sandbox(sandbox())
    store.put_container(running)
    store.put_unread(late)
    store.containers_known.set()

    async def subscribe() -> None:
        async with aclosing(hub.subscribe()) as events:
            async for event in events:
                told.append(of(event))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(subscribe)
        await anyio.wait_all_tasks_blocked()
        store.put_container(exited)
        await anyio.wait_all_tasks_blocked()
        assert told == [], "its statuses would leave a container out"
        store.put_container(late)
        await anyio.wait_all_tasks_blocked()
        assert [one[:2] for one in told] == [("c1", STOPPED), ("c2", CREATED), ("c2", STARTED)]
        assert all(set(one[2]) == {"c1", "c2"} for one in told)
        tasks.cancel_scope.cancel()


async def test_bytes_that_wait_are_bounded_for_each_and_for_all() -> None:
    store = NodeStore()
    store.containers_known.set()
    dropped: list[int] = []
    hub = EventHub(
        store, buffer_bytes=400, total_bytes=600, on_dropped=lambda: dropped.append(len(dropped))
    )
    subscriptions = [hub.subscribe() for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        for subscription in subscriptions:
            tasks.start_soon(anext, subscription)
        await anyio.wait_all_tasks_blocked()
        store.put_container(created)
        await anyio.wait_all_tasks_blocked()
    for number in range(40):
        store.put_container(running if number % 2 else exited)
    assert len(dropped) == 3, "nobody takes anything"
    for subscription in subscriptions:
        with pytest.raises(ResourceExhausted, match="fell behind"):
            [event async for event in subscription]
