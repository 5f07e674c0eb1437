"""What ExecSync keeps: one call's bound, the bound of all of them, and turns meanwhile."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from asupervisor.dockershim.container.outputs import (
    CALL_BYTES,
    OWN_BYTES,
    STEPS_PER_ROUND,
    Output,
    OutputBudget,
)
from asupervisor.proto import cri
from asupervisor.translate.stream_frames import FRAMES_PER_STEP

MEBIBYTE = 1 << 20


def frame(number: int, payload: bytes) -> bytes:
    return bytes((number, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def answer(output: Output, code: int = 0) -> cri.ExecSyncResponse:
    return cri.ExecSyncResponse.FromString(output.answer(code))


@pytest.mark.parametrize("code", [0, 7, 255, -1])
async def test_both_streams_and_the_code(code: int) -> None:
    budget = OutputBudget()
    with Output(budget) as output:
        await output.feed(frame(1, b"out") + frame(2, b"err") + frame(1, b"put" * 100))
        found = answer(output, code)
    assert (found.stdout, found.stderr, found.exit_code) == (b"out" + b"put" * 100, b"err", code)


async def test_nothing_is_an_answer_too() -> None:
    with Output(OutputBudget()) as output:
        assert output.answer(0) == cri.ExecSyncResponse().SerializeToString()


@pytest.mark.parametrize("number", [1, 2])
async def test_one_call_is_cut_at_16_mib_and_says_so(number: int) -> None:
    budget = OutputBudget()
    with Output(budget) as output:
        for _ in range(20):
            await output.feed(frame(number, b"x" * MEBIBYTE))
        await output.feed(frame(3 - number, b"late"))
        encoded = output.answer(0)
    assert CALL_BYTES - MEBIBYTE < len(encoded) <= 16 * MEBIBYTE
    found = cri.ExecSyncResponse.FromString(encoded)
    streams = {1: found.stdout, 2: found.stderr}
    assert streams[number].endswith(b"[output cut: more than 16 MiB]\n")
    assert b"cut" in streams[3 - number]


async def test_all_calls_together_keep_to_their_budget_and_none_fails() -> None:
    budget = OutputBudget(2 * MEBIBYTE)
    outputs = [Output(budget) for _ in range(10)]
    for output in outputs:
        for _ in range(3):
            await output.feed(frame(1, b"x" * MEBIBYTE))
    answers = [answer(output) for output in outputs]
    assert sum(len(one.stdout) for one in answers) <= 2 * MEBIBYTE + 10 * (OWN_BYTES + 200)
    assert all(b"of all commands" in one.stdout[-80:] for one in answers)
    assert budget.left == 0
    for output in outputs:
        output.__exit__()
    assert budget.left == 2 * MEBIBYTE


async def test_a_probe_has_its_own_share_beside_those_that_took_all() -> None:
    budget = OutputBudget(MEBIBYTE)
    with Output(budget) as greedy, Output(budget) as probe:
        await greedy.feed(frame(1, b"x" * (3 * MEBIBYTE)))
        await probe.feed(frame(1, b"y" * OWN_BYTES))
        assert answer(probe).stdout == b"y" * OWN_BYTES
        await probe.feed(frame(2, b"z"))
        assert b"of all commands" in answer(probe).stderr
    assert budget.left == MEBIBYTE


async def test_what_a_call_held_is_there_for_the_next_one() -> None:
    budget = OutputBudget(MEBIBYTE)
    for _ in range(3):
        with Output(budget) as output:
            await output.feed(frame(1, b"x" * MEBIBYTE))
            assert len(answer(output).stdout) == MEBIBYTE


async def test_tiny_frames_leave_the_loop_its_turns() -> None:
    """A frame for each byte, as a container may write them: others run after each few steps."""
    budget = OutputBudget()
    count = 40_000
    rounds = 0
    with Output(budget) as output:
        async with anyio.create_task_group() as tasks:

            async def others() -> None:
                nonlocal rounds
                while True:
                    await anyio.lowlevel.checkpoint()
                    rounds += 1

            tasks.start_soon(others)
            await output.feed(frame(1, b"x") * count)
            tasks.cancel_scope.cancel()
        assert len(answer(output).stdout) == count
    assert rounds >= count // FRAMES_PER_STEP // STEPS_PER_ROUND
