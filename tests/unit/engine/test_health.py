"""Who waits for the engine is woken, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from asupervisor.conditions import Reason
from asupervisor.engine.health import EngineHealth
from asupervisor.errors import Unavailable


async def woken(wait: Callable[[], Coroutine[Any, Any, None]], change: Callable[[], None]) -> bool:
    """Whether a waiter that waits before the change is woken by it."""
    with anyio.move_on_after(5) as patience:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            change()
    return not patience.cancelled_caught


def test_a_waiter_from_before_the_first_failed_probe_is_woken() -> None:
    health = EngineHealth()

    def comes_late() -> None:
        health.set_unreachable(Reason.ENGINE_FAILING, "not there yet")
        health.set_unreachable(Reason.ENGINE_FAILING, "not there yet")
        health.set_reachable()

    assert anyio.run(woken, health.wait_reachable, comes_late)


def test_a_waiter_from_before_a_lost_event_stream_is_woken() -> None:
    health = EngineHealth()
    health.set_reachable()
    health.set_unreachable(Reason.ENGINE_NOT_ANSWERING, "frozen")

    def comes_back() -> None:
        health.set_stale(Reason.ENGINE_EVENTS_LOST, "restarted")
        health.set_unreachable(Reason.ENGINE_FAILING, "restarting")
        health.set_reachable()

    assert anyio.run(woken, health.wait_reachable, comes_back)


def test_ready_waits_for_both() -> None:
    health = EngineHealth()

    def in_step() -> None:
        health.set_unreachable(Reason.ENGINE_FAILING, "not there yet")
        health.set_reachable()
        assert not health.ready
        health.set_synced()

    assert anyio.run(woken, health.wait_ready, in_step)
    assert health.ready
    assert (health.reason, health.message) == ("", "")


def test_down_is_told_and_gates() -> None:
    health = EngineHealth()
    health.set_reachable()
    health.set_synced()
    health.require("list containers")
    health.set_unreachable(Reason.ENGINE_NOT_ANSWERING, "frozen")
    assert not health.ready
    with pytest.raises(Unavailable, match="cannot stop container: frozen"):
        health.require("stop container")


def test_a_slow_engine_that_lost_no_event_is_ready_at_once() -> None:
    health = EngineHealth()
    health.set_reachable()
    health.set_synced()
    health.set_unreachable(Reason.ENGINE_NOT_ANSWERING, "frozen")
    assert anyio.run(woken, health.wait_ready, health.set_reachable)
    assert health.changes == 3


def test_a_node_state_that_is_in_step_before_the_engine_is_identified_makes_it_ready() -> None:
    """The reading ends while the probe still asks for the engine's version."""
    health = EngineHealth()

    def identified_last() -> None:
        health.set_synced()
        assert not health.ready
        health.set_reachable()

    assert anyio.run(woken, health.wait_ready, identified_last)
    assert (health.condition, health.changes) == (("", ""), 1)
