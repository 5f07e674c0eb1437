"""Who waits for whom: locks by key, the gate, tear-downs that are joined and repeated."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from asupervisor.errors import Internal, RollbackFailed, Unavailable
from asupervisor.host.netns import HeldNamespace
from asupervisor.locks import KeyedLock
from asupervisor.network.plugin import PodNetwork
from asupervisor.network.shared_lock import SharedLock
from asupervisor.network.teardown import TearDowns

POD = PodNetwork("abc", "web", "default", "u1", netns="/proc/7/ns/net")


async def test_one_pod_in_order_two_beside_each_other() -> None:
    lock, order, first_in = KeyedLock(), [], anyio.Event()

    async def hold(key: str, name: str, leave: anyio.Event) -> None:
        async with lock.hold(key):
            order.append(name)
            first_in.set()
            await leave.wait()

    leave = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(hold, "a", "a1", leave)
        await first_in.wait()
        group.start_soon(hold, "a", "a2", leave)
        group.start_soon(hold, "b", "b1", leave)
        await anyio.wait_all_tasks_blocked()
        assert order == ["a1", "b1"] and lock.held("a") and lock.held("b")
        leave.set()
    assert order == ["a1", "b1", "a2"]
    assert not lock.held("a")


async def test_who_wants_to_be_alone_waits_and_is_not_joined() -> None:
    gate, order, leave, done = SharedLock(), [], anyio.Event(), anyio.Event()

    async def share(name: str) -> None:
        async with gate.shared():
            order.append(name)
            await leave.wait()

    async def alone() -> None:
        async with gate.alone():
            order.append("alone")
            await done.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(share, "one")
        await anyio.wait_all_tasks_blocked()
        group.start_soon(alone)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(share, "two")
        await anyio.wait_all_tasks_blocked()
        assert order == ["one", "two"]
        leave.set()
        await anyio.wait_all_tasks_blocked()
        group.start_soon(share, "three")
        await anyio.wait_all_tasks_blocked()
        assert order == ["one", "two", "alone"]
        done.set()
    assert order == ["one", "two", "alone", "three"]


@asynccontextmanager
async def tear_downs_of(
    delete: Callable[[PodNetwork], Awaitable[None]],
) -> AsyncIterator[TearDowns]:
    tear_downs = TearDowns(delete, retry_delay_s=0.01)
    async with anyio.create_task_group() as group:
        await group.start(tear_downs.run)
        yield tear_downs
        group.cancel_scope.cancel()
    with pytest.raises(Unavailable):
        await tear_downs.finish(POD)


async def test_a_tear_down_is_joined_and_survives_its_caller() -> None:
    calls: list[str] = []
    started, go = anyio.Event(), anyio.Event()

    async def delete(pod: PodNetwork) -> None:
        calls.append(pod.netns)
        started.set()
        await go.wait()

    async with tear_downs_of(delete) as tear_downs:
        async with anyio.create_task_group() as group:
            group.start_soon(tear_downs.finish, POD)
            await started.wait()
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            group.start_soon(tear_downs.finish, POD)
            await anyio.wait_all_tasks_blocked()
            go.set()
        assert calls == ["/proc/7/ns/net"]


@pytest.mark.parametrize("fate", ["lives", "is gone", "is another's"])
async def test_a_tear_down_is_repeated_with_the_namespace_while_that_is_there(
    tmp_path: Path, fate: str
) -> None:
    namespace, calls = tmp_path / "net", list[str]()
    succeeded = anyio.Event()
    namespace.touch()

    async def delete(pod: PodNetwork) -> None:
        calls.append(pod.netns)
        if len(calls) < 3:
            raise Internal("not yet")
        succeeded.set()

    async with tear_downs_of(delete) as tear_downs:
        with pytest.raises(Internal, match="not yet"):
            await tear_downs.finish(replace(POD, netns=str(namespace)))
        assert tear_downs.failed == 1
        if fate == "is another's":
            (tmp_path / "other").touch()
            (tmp_path / "other").rename(namespace)
        elif fate == "is gone":
            namespace.unlink()
        await succeeded.wait()
        await anyio.wait_all_tasks_blocked()
        told = str(namespace) if fate == "lives" else ""
        assert (tear_downs.failed, calls) == (0, [str(namespace), told, told])


async def test_a_defect_in_a_tear_down_reaches_its_caller_and_nobody_else() -> None:
    async def delete(pod: PodNetwork) -> None:
        raise ZeroDivisionError

    async with tear_downs_of(delete) as tear_downs:
        with pytest.raises(Internal, match="ZeroDivisionError"):
            await tear_downs.finish(POD)


async def test_a_set_up_that_fails_is_undone_and_says_when_that_fails() -> None:
    broken = True
    deleted: list[str] = []

    async def delete(pod: PodNetwork) -> None:
        if broken:
            raise Internal("stuck")
        deleted.append(pod.sandbox_id)

    async with tear_downs_of(delete) as tear_downs:
        with pytest.raises(RollbackFailed, match=r"no address.*stuck"):
            async with tear_downs.unless_complete(POD, 5.0):
                raise Internal("no address")
        broken = False
        with pytest.raises(Internal, match="no address"):
            async with tear_downs.unless_complete(POD, 5.0):
                raise Internal("no address")
        assert deleted == ["abc"]


async def test_two_who_want_to_be_alone_both_get_their_turn() -> None:
    gate, order, leave = SharedLock(), [], anyio.Event()

    async def share() -> None:
        async with gate.shared():
            await leave.wait()

    async def alone(name: str) -> None:
        async with gate.alone():
            order.append(name)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(share)
            await anyio.wait_all_tasks_blocked()
            for name in ("one", "two", "three"):
                group.start_soon(alone, name)
                await anyio.wait_all_tasks_blocked()
            leave.set()
    assert sorted(order) == ["one", "three", "two"]


async def test_what_lives_by_the_time_of_its_turn_is_not_torn_down() -> None:
    deleted: list[str] = []
    gone, turn = True, anyio.Event()

    async def never(pod: PodNetwork) -> None:
        raise AssertionError

    async with tear_downs_of(never) as tear_downs:

        async def release(pod: PodNetwork) -> None:
            await turn.wait()
            if tear_downs.wanted(pod.sandbox_id):
                deleted.append(pod.sandbox_id)

        tear_downs._delete = release
        async with anyio.create_task_group() as group:
            group.start_soon(tear_downs.finish_all, [POD], lambda sandbox_id: gone)
            await anyio.wait_all_tasks_blocked()
            gone = False
            turn.set()
        assert deleted == [] and not tear_downs.pending(POD.sandbox_id)
        await tear_downs.finish(POD)
        assert deleted == ["abc"], "who asks for it gets it"


async def test_who_joins_a_release_that_may_be_called_off_gets_his_tear_down() -> None:
    deleted: list[str] = []
    turn = anyio.Event()

    async def never(pod: PodNetwork) -> None:
        raise AssertionError

    async with tear_downs_of(never) as tear_downs:

        async def release(pod: PodNetwork) -> None:
            await turn.wait()
            if tear_downs.wanted(pod.sandbox_id):
                deleted.append(pod.sandbox_id)

        tear_downs._delete = release
        async with anyio.create_task_group() as group:
            group.start_soon(tear_downs.finish_all, [POD], lambda sandbox_id: False)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(tear_downs.finish, POD)
            await anyio.wait_all_tasks_blocked()
            turn.set()
        assert deleted == ["abc"]


async def test_a_tear_down_holds_the_namespace_itself_and_is_repeated_without_it(
    tmp_path: Path,
) -> None:
    namespace, calls = tmp_path / "net", list[str]()
    namespace.touch()
    begun, go, succeeded = anyio.Event(), anyio.Event(), anyio.Event()

    async def delete(pod: PodNetwork) -> None:
        calls.append(pod.netns)
        if len(calls) == 2:
            succeeded.set()
            return
        begun.set()
        await go.wait()
        # The caller's own descriptor is closed by now.
        assert os.path.samefile(pod.netns, namespace)  # noqa: ASYNC240
        raise Internal("not yet")

    async with tear_downs_of(delete) as tear_downs:
        async with anyio.create_task_group() as group:
            with HeldNamespace(os.open(namespace, os.O_RDONLY)) as held:
                group.start_soon(tear_downs.finish, replace(POD, netns="/proc/0/ns/net", held=held))
                await begun.wait()
                group.cancel_scope.cancel()
        go.set()
        await succeeded.wait()
        assert calls[0].startswith(f"/proc/{os.getpid()}/fd/") and calls[1] == ""
