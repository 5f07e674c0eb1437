"""One place says whether the service is ready, why not, and since when."""

from __future__ import annotations

import anyio
import pytest

from asupervisor.conditions import NETWORK, RUNTIME, SERVICE, Condition, Conditions, Holds, Reason


class Node:
    """Two sources that a test changes."""

    def __init__(self) -> None:
        self.runtime: tuple[Reason | Holds, str] = (
            Reason.ENGINE_NOT_RUNNING,
            "the engine does not run",
        )
        self.network: tuple[Reason | Holds, str] = ("", "")
        self.conditions = Conditions()
        self.conditions.follow(RUNTIME, lambda: self.runtime)
        self.conditions.follow(NETWORK, lambda: self.network)


def test_it_is_ready_when_all_of_them_hold() -> None:
    node = Node()
    assert node.conditions.reasons == ["the service is starting", "the engine does not run"]
    node.conditions.started()
    assert node.conditions.reasons == ["the engine does not run"] and not node.conditions.ready
    node.runtime = ("", "")
    assert node.conditions.ready, "what is told is what is true now"
    node.conditions.stopping()
    assert node.conditions.reasons == ["the service is stopping"] and node.conditions.is_stopping


def test_since_counts_from_the_turn_and_not_from_another_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("asupervisor.conditions.time.time", lambda: clock[0])
    node = Node()
    assert node.conditions.get(RUNTIME).since == 100.0
    clock[0], node.runtime = 200.0, (Reason.ENGINE_NOT_ANSWERING, "frozen")
    found = node.conditions.get(RUNTIME)
    assert found == Condition(RUNTIME, False, Reason.ENGINE_NOT_ANSWERING, "frozen", 100.0)
    clock[0], node.runtime = 300.0, ("", "")
    assert node.conditions.get(RUNTIME) == Condition(RUNTIME, True, "", "", 300.0)


async def test_a_network_that_comes_later_than_the_engine_is_told() -> None:
    node = Node()
    node.conditions.started()
    node.runtime, node.network = ("", ""), (Reason.NETWORK_NOT_READY, "cni config uninitialized")
    seen = node.conditions.look()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def comes() -> None:
                await anyio.wait_all_tasks_blocked()
                node.network = ("", "")

            tasks.start_soon(comes)
            now = await node.conditions.change(seen)
    assert [one.kind for one in now if one.ready] == [SERVICE, RUNTIME, NETWORK]


async def test_a_stop_is_told_at_once() -> None:
    node = Node()
    node.conditions.started()
    seen = node.conditions.look()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.conditions.change, seen)
            await anyio.wait_all_tasks_blocked()
            node.conditions.stopping()
