"""Turns: a few for each round of the loop, in order, and none lost."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from asupervisor.streaming.loop_turns import LoopTurns


async def test_a_round_gives_no_more_than_its_turns_and_keeps_the_order() -> None:
    turns, taken, rounds = LoopTurns(per_round=3), [], []

    async def take(number: int) -> None:
        await turns.take()
        taken.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(take, number)
        while len(taken) < 10:
            before = len(taken)
            await anyio.lowlevel.checkpoint()
            rounds.append(len(taken) - before)
    assert taken == list(range(10))
    assert max(rounds) <= 3


async def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    turns = LoopTurns(per_round=1)
    await turns.take()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(turns.take)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        await turns.take()
        await turns.take()


async def test_one_that_is_alone_is_not_held_up_for_long() -> None:
    turns = LoopTurns(per_round=2)
    with anyio.fail_after(5):
        for _ in range(1000):
            await turns.take()
