"""Places for commands that start: bounded, in order, never lost, never held for ever."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from asupervisor.dockershim.streaming.start_limiter import StartLimiter

NEVER_S = 3600.0


async def _settle() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_no_more_hold_a_place_than_there_are_and_the_order_is_kept() -> None:
    starts, order, now, most = StartLimiter(at_once=2, longest_s=NEVER_S), [], 0, 0

    async def start(number: int) -> None:
        nonlocal now, most
        place = await starts.take()
        order.append(number)
        now += 1
        most = max(most, now)
        await anyio.lowlevel.checkpoint()
        now -= 1
        place.leave()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(start, number)
    assert order == list(range(10))
    assert most == 2


async def test_a_start_that_hangs_gives_its_place_up() -> None:
    starts = StartLimiter(at_once=1, longest_s=0.01)
    with anyio.fail_after(10):
        for _ in range(3):
            await starts.take()


async def test_leaving_twice_makes_no_second_place() -> None:
    starts = StartLimiter(at_once=1, longest_s=NEVER_S)
    place = await starts.take()
    place.leave()
    place.leave()
    await starts.take()
    taken = anyio.Event()

    async def wait() -> None:
        await starts.take()
        taken.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await _settle()
        assert not taken.is_set()
        tasks.cancel_scope.cancel()


async def test_one_that_gives_up_waiting_takes_no_place_with_it() -> None:
    starts = StartLimiter(at_once=1, longest_s=NEVER_S)
    place = await starts.take()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(starts.take)
        await _settle()
        tasks.cancel_scope.cancel()
    place.leave()
    with anyio.fail_after(10):
        await starts.take()


async def test_a_place_is_left_when_the_command_runs() -> None:
    starts, answers = StartLimiter(at_once=1, longest_s=NEVER_S), [False, False, True]

    async def started() -> bool:
        return answers.pop(0)

    place = await starts.take()
    with anyio.fail_after(10):
        await place.leave_once(started)
        await starts.take()
    assert not answers


async def test_nobody_is_asked_about_a_place_that_was_left() -> None:
    place = await StartLimiter(at_once=1).take()
    place.leave()
    with anyio.fail_after(10):
        await place.leave_once(lambda: pytest.fail("asked"))
