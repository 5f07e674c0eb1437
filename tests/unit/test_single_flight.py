"""One piece of work and the many who wait for it."""

from __future__ import annotations

import logging

import anyio
import pytest

from asupervisor.errors import Internal, NotFound, ServiceError, Unavailable
from asupervisor.single_flight import Flight


async def test_every_caller_gets_the_result_of_the_one_run() -> None:
    runs = 0
    results: list[int] = []

    async def work() -> int:
        nonlocal runs
        runs += 1
        return 7

    flight: Flight[int] = Flight("count")

    async def caller() -> None:
        results.append(await flight.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        tasks.start_soon(caller)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(flight.run, work)
    assert await flight.wait() == 7
    assert (runs, results, flight.error) == (1, [7, 7], None)


@pytest.mark.parametrize(
    ("failure", "told"),
    [(NotFound("not there"), NotFound), (KeyError("Config"), Internal)],
    ids=["error of the service", "defect"],
)
async def test_an_error_is_the_callers_and_not_the_tasks(
    failure: Exception, told: type[ServiceError], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise failure

    flight: Flight[None] = Flight("reading a", "a")
    with caplog.at_level(logging.ERROR):
        await flight.run(work)
    assert flight.done.is_set()
    for _ in range(2):
        with pytest.raises(told) as raised:
            await flight.wait()
        assert "Config" not in raised.value.message
    assert bool(caplog.records) is (told is Internal)


async def test_callers_of_cancelled_work_are_told_that_the_service_stopped() -> None:
    flight: Flight[None] = Flight("reading a", "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flight.run, anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    with pytest.raises(Unavailable, match="the service stopped during reading a"):
        await flight.wait()
    assert tasks.cancel_scope.cancel_called


async def test_a_caller_that_gives_up_does_not_end_the_work() -> None:
    gate = anyio.Event()
    flight: Flight[None] = Flight("wait")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flight.run, gate.wait)
        async with anyio.create_task_group() as callers:
            callers.start_soon(flight.wait)
            await anyio.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        assert not flight.done.is_set()
        gate.set()
    assert flight.done.is_set()


async def test_what_cannot_begin_fails_for_every_caller() -> None:
    flight: Flight[None] = Flight("tear down")
    flight.fail(Unavailable("the network plugin is not running"))
    with pytest.raises(Unavailable, match="not running"):
        await flight.wait()
