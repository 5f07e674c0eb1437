"""Lanes: what hangs keeps its own place, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from asupervisor.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from asupervisor.host.lanes import Lane


@pytest.fixture
def server() -> Iterator[threading.Event]:
    """A file server that answers once it is set; and at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


async def _settled(lane: Lane) -> None:
    with anyio.fail_after(10):
        while lane.hanging:  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def test_results_and_errors_come_back() -> None:
    lane = Lane("look", width=1, deadline_s=10)
    assert await lane.run("/x", lambda a, b: a + b, 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await lane.run("/x", lambda: 1 // 0)
    assert await lane.run("/x", lambda: "still free") == "still free"


async def test_many_wait_for_few_places() -> None:
    lane, done = Lane("look", width=2, deadline_s=30), list[int]()
    async with anyio.create_task_group() as group:
        for index in range(20):
            group.start_soon(lane.run, f"/{index}", done.append, index)
    assert sorted(done) == list(range(20))


async def test_forty_that_hang_take_no_thread_of_others(server: threading.Event) -> None:
    lane, other = Lane("look", width=40, deadline_s=0.05), Lane("write", width=2, deadline_s=30)
    failures = []

    async def look(index: int) -> None:
        with pytest.raises(DeadlineExceeded, match=f"/nfs/{index}: cannot look") as caught:
            await lane.run(f"/nfs/{index}", server.wait)
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        for index in range(40):
            group.start_soon(look, index)
    assert len(failures) == 40 and len(lane.hanging) == 40
    assert await anyio.to_thread.run_sync(lambda: "a checkpoint") == "a checkpoint"
    assert await other.run("/disk", lambda: "a log") == "a log"
    with pytest.raises(Unavailable, match="/good: cannot look now: 40 others"):
        await lane.run("/good", lambda: None)
    server.set()
    await _settled(lane)
    assert await lane.run("/good", lambda: "again") == "again"


async def test_a_path_that_hangs_takes_one_place_however_often_it_is_asked_for(
    server: threading.Event,
) -> None:
    lane = Lane("look", width=2, deadline_s=0.05)
    for _ in range(5):
        with pytest.raises(DeadlineExceeded, match="/nfs: cannot look"):
            await lane.run("/nfs", server.wait)
    assert await lane.run("/good", lambda: "free") == "free"
    server.set()
    await _settled(lane)
    assert await lane.run("/nfs", lambda: "back") == "back"


async def test_a_caller_that_goes_leaves_the_place_taken_until_the_thread_is_back(
    server: threading.Event,
) -> None:
    lane = Lane("look", width=1, deadline_s=30)
    with anyio.move_on_after(0.05):
        await lane.run("/nfs", server.wait)
    assert lane.hanging == ["/nfs"]
    server.set()
    await _settled(lane)
    assert await lane.run("/good", lambda: "free") == "free"


def test_a_hung_thread_does_not_keep_the_process() -> None:
    program = """
import anyio, threading
from asupervisor.host.lanes import Lane
async def main():
    try:
        await Lane("look", width=1, deadline_s=0.05).run("/nfs", threading.Event().wait)
    except Exception as error:
        print(type(error).__name__, flush=True)
anyio.run(main)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "DeadlineExceeded\n" and run.stderr == ""


async def test_without_a_thread_its_place_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lane = Lane("look", width=1, deadline_s=10)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ResourceExhausted, match="/x: cannot look: can't start new thread"):
            await lane.run("/x", lambda: 1)
    assert await lane.run("/x", lambda: 1) == 1 and lane.hanging == []
