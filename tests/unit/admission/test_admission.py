"""Who has to give way, and what a head may hold."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.admission import Admission, HeadLines


async def test_the_oldest_gives_way_to_the_newest() -> None:
    room = Admission(limit=3, per_peer=3)
    gone: list[int] = []
    left = anyio.Event()

    async def silent(number: int) -> None:
        with room.enter(f"10.0.0.{number}"):
            await left.wait()
            return
        gone.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(silent, number)
        await anyio.wait_all_tasks_blocked()
        assert gone == list(range(7)) and len(room.guests) == 3
        left.set()
    assert not room.guests


async def test_a_peer_gives_way_to_itself_before_others_do() -> None:
    room = Admission(limit=4, per_peer=2)
    with ExitStack() as stack:
        good = stack.enter_context(room.enter("10.0.0.1"))
        many = [stack.enter_context(room.enter("10.0.0.2")) for _ in range(50)]
        assert not good.gave_way
        assert [one.gave_way for one in many] == [True] * 48 + [False] * 2


async def test_who_was_admitted_does_not_give_way_and_does_not_count() -> None:
    room = Admission(limit=2, per_peer=2)
    with ExitStack() as stack:
        sessions = [stack.enter_context(room.enter("10.0.0.1")) for _ in range(1)]
        for _ in range(5):
            guest = stack.enter_context(room.enter("10.0.0.1"))
            guest.admit()
            sessions.append(guest)
        sessions[0].admit()
        for _ in range(10):
            stack.enter_context(room.enter("10.0.0.1"))
        assert not any(one.gave_way for one in sessions)
        assert len(room.guests) == 2


async def test_who_does_something_is_the_newest_again() -> None:
    room = Admission(limit=2, per_peer=2)
    with ExitStack() as stack:
        first, second = (stack.enter_context(room.enter("a")) for _ in range(2))
        first.renew()
        third = stack.enter_context(room.enter("a"))
        assert second.gave_way and not first.gave_way and not third.gave_way
        second.renew()  # too late
        assert len(room.guests) == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("local", "local", True),
    ],
)
async def test_one_peer_is_an_address_or_a_network_of_its_own(
    one: str, other: str, same: bool
) -> None:
    room = Admission(limit=10, per_peer=1)
    with ExitStack() as stack:
        first = stack.enter_context(room.enter(one))
        stack.enter_context(room.enter(other))
        assert first.gave_way is same


@given(st.binary(max_size=200), st.integers(1, 20))
def test_a_portion_has_no_more_lines_than_are_left(data: bytes, limit: int) -> None:
    lines, taken = HeadLines(limit), b""
    while data[len(taken) :]:
        portion = lines.portion(data[len(taken) :][:7])
        if not portion:
            break
        taken += portion
    assert data.startswith(taken)
    assert taken == data or taken.count(b"\n") == limit
    lines.restart()
    assert lines.portion(b"\n" * 30) == b"\n" * min(limit, 30)
