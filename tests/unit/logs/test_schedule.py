"""Whose turn it is, with real logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from asupervisor.logs import schedule as schedule_module
from asupervisor.logs.follower import FileFollower
from asupervisor.logs.schedule import TURN_BYTES, Entry, Schedule
from tests.harness.engine_log import EngineLog, engine_line, engine_time

_BOOT = b"1" * 16


class Rig:
    """A schedule over any number of logs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []
        self.finished: list[Entry] = []
        self.logs: list[EngineLog] = []
        self.schedule = Schedule(
            lambda container, text: self.warnings.append(f"{container}: {text}"), self._finish
        )

    def _finish(self, entry: Entry) -> None:
        self.finished.append(entry)
        self.schedule.remove(entry)
        entry.follower.close()

    def log(self, name: str) -> tuple[EngineLog, Entry]:
        log = EngineLog(self.root / name / "json.log")
        self.logs.append(log)
        target = str(self.root / f"{name}.log")
        follower = FileFollower(
            str(log.path), target, str(self.root / f"{name}.position"), _BOOT, self.warnings.append
        )
        entry = Entry(name, follower, str(log.path.parent))
        self.schedule.add(entry)
        return log, entry

    def lines(self, name: str) -> int:
        return (self.root / f"{name}.log").read_bytes().count(b"\n")

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(2000):
            if condition():
                return
            self.schedule.wait()
            self.schedule.run()
        raise AssertionError("not within 2000 rounds")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.schedule.close()
    for log in made.logs:
        log.close()


def test_without_inotify_files_are_polled(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(schedule_module, "DirectoryWatch", refused)
    rig.schedule.start()
    assert any("polling" in warning for warning in rig.warnings)
    log, _ = rig.log("a")
    for number in range(3):
        log.write(b"%d\n" % number)
        rig.until(lambda number=number: rig.lines("a") == number + 1)  # type: ignore[misc]


def test_a_quiet_log_does_not_wait_for_floods(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.schedule.start()
    floods = [rig.log(f"flood{number}") for number in range(8)]
    moved: list[int] = []

    def count(turn: Callable[[int], int], limit: int) -> int:
        moved.append(turn(limit))
        return moved[-1]

    for _, entry in floods:
        monkeypatch.setattr(entry.follower, "turn", partial(count, entry.follower.turn))
    line = engine_line(b"x" * 1000 + b"\n", engine_time(1))
    for log, _ in floods:
        log.write_raw(line * (4 * TURN_BYTES // len(line)))
    rig.schedule.run()
    quiet, _ = rig.log("quiet")
    quiet.write(b"one\n")
    before = sum(moved)
    rig.until(lambda: rig.lines("quiet") == 1)
    # One round: the quiet one first, and one turn of one of the others.
    assert sum(moved) - before <= 2 * TURN_BYTES
    rig.until(lambda: all(entry.follower.drained for _, entry in floods))
    assert len({rig.lines(f"flood{number}") for number in range(8)}) == 1


def test_a_defect_in_one_log_leaves_the_others_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.schedule.start()
    bad, broken = rig.log("bad")
    good, entry = rig.log("good")

    def turn(_limit: int) -> int:
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(broken.follower, "turn", turn)
        bad.write(b"one\n")
        good.write(b"one\n")
        rig.until(lambda: rig.lines("good") == 1)
        assert any("a defect" in warning for warning in rig.warnings)
    rig.until(lambda: rig.lines("bad") == 1)
    entry.finishing.append(1)
    rig.schedule.wake(entry)
    rig.until(lambda: rig.finished == [entry])
