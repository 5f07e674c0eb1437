"""What hangs is left behind, holds up its own mount alone, and is taken back when it returns."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import pytest

from asupervisor.logs import disk as disk_module
from asupervisor.logs.disk import Disk


@pytest.fixture
def hung() -> list[str]:
    return []


@pytest.fixture
def disk(hung: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setattr(disk_module, "_MOMENT_S", 0.05)
    made = Disk(hung.append)
    yield made
    made.close()


def test_work_that_answers_is_done_before_run_returns(disk: Disk, hung: list[str]) -> None:
    results: list[object] = []
    disk.run("/a", lambda: 7, lambda result, error: results.append((result, error)))

    def fails() -> None:
        raise OSError("full")

    disk.run("/a", fails, lambda result, error: results.append((result, str(error))))
    assert results == [(7, None), (None, "full")]
    assert hung == []


def test_one_that_hangs_holds_up_its_mount_alone(disk: Disk, hung: list[str]) -> None:
    answer, results = threading.Event(), []
    disk.run("/dead", lambda: answer.wait(30), lambda result, error: results.append("dead"))
    assert hung == ["/dead"] and disk.hangs("/dead") and not disk.hangs("/a")
    disk.run("/a", lambda: None, lambda result, error: results.append("a"))
    assert results == ["a"]
    disk.when_back("/dead", "one", lambda: results.append("waited, first"))
    disk.when_back("/dead", "one", lambda: results.append("waited"))
    answer.set()
    assert select.select([disk.fd], [], [], 30)[0]
    disk.take_back()
    assert results == ["a", "dead", "waited"]
    assert not disk.hangs("/dead")


def test_what_waits_for_a_mount_goes_on_waiting_when_that_hangs_again(disk: Disk) -> None:
    first, second, order = threading.Event(), threading.Event(), []
    disk.run("/dead", lambda: first.wait(30), lambda result, error: order.append("first"))
    disk.when_back(
        "/dead",
        1,
        lambda: disk.run("/dead", lambda: second.wait(30), lambda r, e: order.append("second")),
    )
    disk.when_back("/dead", 2, lambda: order.append("third"))
    first.set()
    assert select.select([disk.fd], [], [], 30)[0]
    disk.take_back()
    assert order == ["first"] and disk.hangs("/dead")
    second.set()
    assert select.select([disk.fd], [], [], 30)[0]
    disk.take_back()
    assert order == ["first", "second", "third"]


def test_what_the_thread_has_to_tell_is_told_in_the_loop(disk: Disk) -> None:
    told: list[str] = []

    def work() -> None:
        disk.tell(lambda: told.append(threading.current_thread().name))

    disk.run("/a", work, lambda result, error: told.append("then"))
    assert told == [threading.main_thread().name, "then"]
