"""The law of readings: one under way, one waiting, and what is out of date is never applied."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from asupervisor.errors import Internal, ServiceError, Unavailable
from asupervisor.node.refresh import Refresher, Settled


class Source:
    """Something that changes while it is read; each reading is let go by the test."""

    def __init__(self) -> None:
        self.value = 0
        self.applied: list[int] = []
        self.begun = 0
        self.under_way = 0
        self.most_under_way = 0
        self.gate = anyio.Event()
        self.failure: Exception | None = None

    async def read(self, any_id: str) -> Callable[[], None]:
        value = self.value
        self.begun += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.under_way -= 1
        return lambda: self.applied.append(value)


async def test_a_reading_begins_after_the_change_that_asked_for_it() -> None:
    source = Source()
    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, source.read)
        refresher.mark("a")
        await anyio.wait_all_tasks_blocked()
        source.value = 1  # after the first reading saw 0
        refresher.mark("a")
        source.value = 2
        last = refresher.mark("a")
        source.gate.set()
        await last.done.wait()
    assert source.applied == [0, 2]
    assert source.begun == 2, "three marks are two readings"
    assert source.most_under_way == 1


async def test_a_void_reading_is_not_applied_and_another_follows() -> None:
    source = Source()
    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, source.read)
        refresher.mark("a")
        await anyio.wait_all_tasks_blocked()
        source.value = 1
        refresher.void("a")
        source.gate.set()
    assert source.applied == [1]


async def test_void_of_what_is_not_being_read_reads_nothing() -> None:
    source = Source()
    async with anyio.create_task_group() as tasks:
        Refresher(tasks, source.read).void("a")
    assert source.begun == 0


@pytest.mark.parametrize(
    ("failure", "told"),
    [(Unavailable("the engine is gone"), Unavailable), (KeyError("Config"), Internal)],
    ids=["error of the service", "defect"],
)
async def test_a_failed_reading_reaches_who_waits_and_stops_nobody_else(
    failure: Exception, told: type[ServiceError]
) -> None:
    source = Source()
    source.failure = failure
    source.gate.set()
    failed: list[str] = []
    async with anyio.create_task_group() as tasks:
        refresher = Refresher(
            tasks, source.read, on_failure=lambda any_id, error: failed.append(any_id)
        )
        with pytest.raises(told):
            await refresher.mark("a").wait()
        assert failed == ["a"]
        source.failure = None
        await refresher.mark("a").wait()
    assert source.applied == [0]


async def test_a_caller_that_gives_up_does_not_end_the_reading() -> None:
    source = Source()
    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, source.read)
        async with anyio.create_task_group() as callers:
            callers.start_soon(refresher.mark("a").wait)
            await anyio.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        source.gate.set()
    assert source.applied == [0]


async def test_no_more_readings_at_once_than_allowed() -> None:
    source = Source()
    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, source.read, concurrency=3)
        for number in range(10):
            refresher.mark(f"id{number}")
        await anyio.wait_all_tasks_blocked()
        assert source.under_way == 3
        source.gate.set()
    assert source.begun == 10 and source.most_under_way == 3


async def test_what_hangs_leaves_its_turn_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asupervisor.node.refresh._PATIENCE_S", 0.01)
    hung, applied = anyio.Event(), []

    async def read(any_id: str) -> Callable[[], None]:
        if any_id.startswith("hung"):
            await hung.wait()
        return lambda: applied.append(any_id)

    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, read, concurrency=3)
        for number in range(20):
            refresher.mark(f"hung{number}")
        with anyio.fail_after(10):
            await refresher.mark("well").wait()
        assert applied == ["well"]
        hung.set()
    assert len(applied) == 21


async def test_what_hung_before_waits_for_its_like_only(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way: set[str] = set()
    fail, hung = True, anyio.Event()

    async def read(any_id: str) -> Callable[[], None]:
        if fail:
            raise Unavailable("late")
        under_way.add(any_id)
        await hung.wait()
        return lambda: None

    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, read, concurrency=16)
        for number in range(30):
            await refresher.mark(f"bad{number}").done.wait()
        fail = False
        for number in range(30):
            refresher.mark(f"bad{number}")
        await anyio.wait_all_tasks_blocked()
        assert len(under_way) == 4, "repeated offenders have a few places of their own"
        for number in range(16):
            refresher.mark(f"good{number}")
        await anyio.wait_all_tasks_blocked()
        assert len([one for one in under_way if one.startswith("good")]) == 16
        hung.set()


async def test_a_log_that_does_not_settle_holds_up_its_own_container_only() -> None:
    never, applied = anyio.Event(), []

    async def read(any_id: str) -> Callable[[], None]:
        def apply() -> None:
            applied.append(any_id)

        return Settled(never.wait, apply) if any_id.startswith("stuck") else apply

    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, read, concurrency=2)
        for number in range(5):
            refresher.mark(f"stuck{number}")
        await anyio.wait_all_tasks_blocked()
        await refresher.mark("well").wait()
        assert applied == ["well"]
        never.set()


async def test_the_end_of_the_service_ends_every_wait_for_a_reading() -> None:
    async def read(any_id: str) -> Callable[[], None]:
        await anyio.sleep_forever()
        raise AssertionError

    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, read, concurrency=1)
        under_way, waiting = refresher.mark("a"), refresher.mark("b")
        await anyio.wait_all_tasks_blocked()
        following = refresher.mark("a")
        tasks.cancel_scope.cancel()
    for flight in (under_way, waiting, following):
        with pytest.raises(Unavailable, match="the service stopped"):
            await flight.wait()


async def test_what_waits_for_its_turn_is_read_once_however_often_it_is_marked() -> None:
    source = Source()
    source.gate.set()
    async with anyio.create_task_group() as tasks:
        refresher = Refresher(tasks, source.read)
        assert len({refresher.mark("a") for _ in range(5)}) == 1
    assert source.begun == 1
