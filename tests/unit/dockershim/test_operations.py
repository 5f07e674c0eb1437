"""The law of changes: they outlive their caller, a retry joins, one object's changes run in order,
a stop refuses new ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest
from anyio.abc import TaskGroup

from asupervisor.dockershim.operations import Operations, Ticket, operation_key
from asupervisor.errors import (
    FailedPrecondition,
    Internal,
    NotFound,
    RollbackFailed,
    ServiceError,
    Unavailable,
    together,
)
from asupervisor.node.build import sandbox_record
from tests.harness.fake_engine import container_document


class Work:
    """A change that waits to be let go, and counts."""

    def __init__(self, name: str = "", log: list[str] | None = None) -> None:
        self.gate = anyio.Event()
        self.begun = 0
        self.ended = 0
        self.name = name
        self.log = log if log is not None else []
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.begun += 1
        self.log.append(f"{self.name} begins")
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.ended += 1
        self.log.append(f"{self.name} ends")
        return f"{self.name} done"


def call(
    tasks: TaskGroup,
    operations: Operations,
    key: str,
    action: str,
    work: Work,
    answers: list[object],
) -> None:
    async def caller() -> None:
        try:
            answers.append(await operations.run(key, action, work))
        except ServiceError as error:
            answers.append(error)

    tasks.start_soon(caller)


async def test_a_retry_joins_the_change_under_way() -> None:
    work, answers = Work("run"), list[object]()
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        call(tasks, operations, "pod", "run", work, answers)
        call(tasks, operations, "pod", "run", work, answers)
        await anyio.wait_all_tasks_blocked()
        assert [(key, action) for key, action, _ in operations.under_way] == [("pod", "run")]
        work.gate.set()
    assert (work.begun, answers) == (1, ["run done", "run done"])
    assert operations.under_way == []


async def test_a_change_outlives_its_caller_and_a_retry_gets_its_outcome() -> None:
    work, answers = Work("run"), list[object]()
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        async with anyio.create_task_group() as callers:
            call(callers, operations, "pod", "run", work, [])
            await anyio.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        call(tasks, operations, "pod", "run", work, answers)
        await anyio.wait_all_tasks_blocked()
        work.gate.set()
    assert (work.begun, work.ended, answers) == (1, 1, ["run done"])


async def test_a_change_whose_only_caller_gave_up_still_ends() -> None:
    work = Work("run")
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        async with anyio.create_task_group() as callers:
            call(callers, operations, "pod", "run", work, [])
            await anyio.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        work.gate.set()
    assert work.ended == 1


async def test_changes_of_one_object_run_one_after_the_other_in_the_order_asked() -> None:
    log: list[str] = []
    works = [Work(name, log) for name in ("run", "stop", "remove")]
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        for work in works:
            call(tasks, operations, "pod", work.name, work, [])
        await anyio.wait_all_tasks_blocked()
        for work in reversed(works):
            work.gate.set()
    assert log == [
        "run begins",
        "run ends",
        "stop begins",
        "stop ends",
        "remove begins",
        "remove ends",
    ]


async def test_changes_of_different_objects_do_not_wait_for_each_other() -> None:
    slow, quick, answers = Work("slow"), Work("quick"), list[object]()
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        call(tasks, operations, "a", "run", slow, answers)
        call(tasks, operations, "b", "run", quick, answers)
        quick.gate.set()
        await anyio.wait_all_tasks_blocked()
        assert answers == ["quick done"]
        slow.gate.set()


@pytest.mark.parametrize(
    ("error", "told"), [(NotFound("no image"), NotFound), (ZeroDivisionError(), Internal)]
)
async def test_an_error_reaches_every_caller_and_the_next_try_begins_anew(
    error: Exception, told: type[ServiceError]
) -> None:
    work, answers = Work("run"), list[object]()
    work.error = error
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        call(tasks, operations, "pod", "run", work, answers)
        call(tasks, operations, "pod", "run", work, answers)
        work.gate.set()
        await anyio.wait_all_tasks_blocked()
        assert [type(answer) for answer in answers] == [told, told]
        work.error = None
        assert await operations.run("pod", "run", work) == "run done"


async def test_a_drain_waits_for_what_is_under_way_and_refuses_the_rest() -> None:
    work, late, answers = Work("run"), Work("late"), list[object]()
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        call(tasks, operations, "pod", "run", work, answers)
        await anyio.wait_all_tasks_blocked()
        drained = anyio.Event()

        async def drain() -> None:
            await operations.drain()
            drained.set()

        tasks.start_soon(drain)
        await anyio.wait_all_tasks_blocked()
        call(tasks, operations, "other", "run", late, answers)
        call(tasks, operations, "pod", "run", work, answers)
        await anyio.wait_all_tasks_blocked()
        assert [type(answer) for answer in answers] == [Unavailable] and "stopping" in str(
            answers[0]
        )
        assert not drained.is_set()
        work.gate.set()
        await drained.wait()
    assert late.begun == 0
    assert answers[1:] == ["run done", "run done"], "what is under way may still be joined"


async def test_who_waits_for_a_change_that_is_cancelled_is_told() -> None:
    work, answers = Work("run"), list[object]()
    async with anyio.create_task_group() as callers, anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        call(callers, operations, "pod", "run", work, answers)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert [type(answer) for answer in answers] == [Unavailable]


async def test_who_waits_for_a_change_that_was_cancelled_before_it_began_is_told_too() -> None:
    work, answers = Work("run"), list[object]()
    async with anyio.create_task_group() as callers:
        async with anyio.create_task_group() as tasks:
            operations = Operations(tasks)
            tasks.cancel_scope.cancel()
            call(callers, operations, "pod", "run", work, answers)
        with anyio.move_on_after(5) as patience:
            while not answers:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        callers.cancel_scope.cancel()
    assert not patience.cancelled_caught, "the caller hangs"
    assert [type(answer) for answer in answers] == [Unavailable]
    assert work.ended == 0


async def test_what_is_closed_refuses_what_waits_and_knows_what_is_under_way() -> None:
    waiting, committed = Work("waiting"), Work("committed")
    answers: list[object] = []

    def within(work: Work, *, commit_first: bool) -> Callable[[Ticket], Awaitable[str]]:
        async def ticketed(ticket: Ticket) -> str:
            if commit_first:
                ticket.commit()
            done = await work()
            ticket.commit()
            return done

        return ticketed

    async def caller(operations: Operations, work: Work, commit_first: bool) -> None:
        ticketed = within(work, commit_first=commit_first)
        try:
            await operations.run_within(("pod", work.name), work.name, "start", ticketed)
            answers.append(f"{work.name} OK")
        except ServiceError as error:
            answers.append(error)

    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        tasks.start_soon(caller, operations, waiting, False)
        tasks.start_soon(caller, operations, committed, True)
        await anyio.wait_all_tasks_blocked()
        assert operations.pending("pod") and operations.pending("waiting")
        with operations.closing("pod", "the pod is being stopped") as closing:
            assert closing.under_way and not await closing.ended(0.0)
            waiting.gate.set()
            await anyio.wait_all_tasks_blocked()
            assert [type(answer) for answer in answers] == [FailedPrecondition]
            await caller(operations, Work("new"), False)
            assert "the pod is being stopped" in str(answers.pop())
            committed.gate.set()
            assert await closing.ended(10.0)
        assert not operations.pending("pod")
        new = Work("new")
        new.gate.set()
        await caller(operations, new, False)
    assert answers[1:] == ["committed OK", "new OK"]


@pytest.mark.parametrize(
    ("engine_name", "key"),
    [
        ("k8s_POD_web_default_u1_0", "k8s_POD_web_default_u1_0"),
        ("k8s_POD_web_default_u1_0_1234abcd", "k8s_POD_web_default_u1_0"),
        ("", "a" * 64),
    ],
)
def test_the_name_after_a_conflict_has_the_key_that_it_was_made_under(
    engine_name: str, key: str
) -> None:
    document = container_document("a" * 64, "k8s_POD_web_default_u1_0", sandbox=True)
    record = replace(sandbox_record(document, None, ()), engine_name=engine_name)
    assert operation_key(record) == key


def test_several_failures_are_told_as_one_of_the_firsts_meaning() -> None:
    why = Unavailable("no network")
    first = RollbackFailed(why, leftovers=("an address",), subject="pod")
    both = together([first, NotFound("no container")])
    assert (both.code, both.subject) == (why.code, "pod")
    assert both.message == f"{first.message}; no container"
    assert together([first]) is first
