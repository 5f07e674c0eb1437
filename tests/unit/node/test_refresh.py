"""The law of readings: one under way, one waiting, and what is out of date is never applied."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from asupervisor.errors import Internal, ServiceError, Unavailable
from asupervisor.node.refresh import Refresher


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
        refresher = Refresher(tasks, source.read, on_failure=failed.append)
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
