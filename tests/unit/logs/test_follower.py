"""One container's log from file to file: growth, both rotations, and every way to stop in
between.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asupervisor.logs import target as target_module
from asupervisor.logs.follower import FileFollower
from tests.harness.engine_log import EngineLog, engine_line, engine_time

_BOOT, _NEXT_BOOT = b"1" * 16, b"2" * 16
_LIMIT = 4096


class Rig:
    """A source, a target, and a follower that can be dropped and made again."""

    def __init__(
        self, root: Path, max_size: int = 0, max_file: int = 1, *, compress: bool = False
    ) -> None:
        self.source = EngineLog(
            root / "containers/c/c-json.log", max_size, max_file, compress=compress
        )
        self.target = root / "pods/c/0.log"
        self.position = root / "c.position"
        self.warnings: list[str] = []
        self.follower: FileFollower | None = None
        self.written = 0

    def start(self, boot: bytes = _BOOT) -> FileFollower:
        self.stop()
        self.follower = FileFollower(
            str(self.source.path), str(self.target), str(self.position), boot, self.warnings.append
        )
        return self.follower

    def stop(self) -> None:
        """As a kill leaves it: nothing more is written."""
        if self.follower is not None:
            self.follower.close()
            self.follower = None

    def write(self, count: int, stream: str = "stdout") -> None:
        for _ in range(count):
            self.source.write(b"line %d\n" % self.written, stream)
            self.written += 1

    def drain(self) -> None:
        follower = self.follower or self.start()
        while follower.turn(_LIMIT) or not follower.drained:
            pass

    def rotate_target(self, number: int) -> Path:
        """As kubelet does: rename, then ReopenContainerLog."""
        renamed = self.target.with_name(f"{self.target.name}.{number}")
        self.target.rename(renamed)
        assert self.follower is not None
        self.follower.reopen()
        return renamed

    def numbers(self) -> list[int]:
        """The numbers in all of the target's files, the oldest file first."""
        files = [*sorted(self.target.parent.glob(f"{self.target.name}.*")), self.target]
        text = b"".join(file.read_bytes() for file in files)
        assert re.fullmatch(rb"(?:\S{20,35} (?:stdout|stderr) F line \d+\n)*", text)
        return [int(number) for number in re.findall(rb"line (\d+)\n", text)]


Rigs = Callable[..., Rig]


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[Rigs]:
    made: list[Rig] = []

    def make(max_size: int = 0, max_file: int = 1, *, compress: bool = False) -> Rig:
        made.append(Rig(tmp_path, max_size, max_file, compress=compress))
        return made[-1]

    yield make
    for rig in made:
        rig.stop()
        rig.source.close()


@pytest.fixture
def rig(rigs: Rigs) -> Rig:
    return rigs()


def all_of(rig: Rig) -> list[int]:
    return list(range(rig.written))


def test_a_log_is_followed_as_it_grows(rig: Rig) -> None:
    follower = rig.start()
    rig.drain()
    assert not follower.ready()
    for _ in range(3):
        rig.write(5)
        assert follower.ready()
        rig.drain()
        assert not follower.ready()
    assert rig.numbers() == all_of(rig)
    assert rig.target.stat().st_mode & 0o777 == 0o640


def test_half_a_line_waits_for_its_end(rig: Rig) -> None:
    line = engine_line(b"line 0\n", engine_time(0))
    follower = rig.start()
    rig.source.write_raw(line[:20])
    rig.drain()
    assert rig.numbers() == []
    assert not follower.ready()
    rig.source.write_raw(line[20:])
    assert follower.ready()
    rig.drain()
    assert rig.numbers() == [0]


def test_a_source_that_does_not_exist_yet(rigs: Rigs) -> None:
    rig = rigs()
    rig.source.path.unlink()
    follower = rig.start()
    rig.drain()
    rig.source.close()
    rig.source = EngineLog(rig.source.path)
    rig.write(3)
    assert follower.ready()
    rig.drain()
    assert rig.numbers() == [0, 1, 2]


@pytest.mark.parametrize(("max_file", "compress"), [(1, False), (2, False), (4, False), (3, True)])
@pytest.mark.parametrize("behind", [1, 40])
def test_the_engine_rotates(rigs: Rigs, max_file: int, compress: bool, behind: int) -> None:
    rig = rigs(2000, max_file, compress=compress)
    follower = rig.start()
    for _ in range(200):
        rig.write(1)
        # What is seen begin is kept open; how much of it is read yet does not matter.
        if rig.written % behind == 0:
            follower.turn(300)
        follower._source.discover()
    rig.drain()
    assert rig.numbers() == all_of(rig)


@pytest.mark.parametrize("compress", [False, True])
def test_the_engine_rotates_while_nobody_follows(rigs: Rigs, compress: bool) -> None:
    rig = rigs(2000, 5, compress=compress)
    rig.write(10)
    rig.drain()
    rig.stop()
    rig.write(50)
    rig.drain()
    assert rig.numbers() == all_of(rig)
    assert rig.warnings == []


def test_what_the_engine_dropped_is_missing_and_nothing_else(rigs: Rigs) -> None:
    rig = rigs(1000, 2)
    rig.write(3)
    rig.drain()
    rig.stop()
    rig.write(60)
    kept = [
        int(n)
        for name in (".1", "")
        for n in re.findall(rb'"line (\d+)', Path(f"{rig.source.path}{name}").read_bytes())
    ]
    rig.drain()
    assert rig.numbers() == [0, 1, 2, *kept]
    assert kept[0] > 3
    assert any("dropped" in warning for warning in rig.warnings)


def test_the_engine_gives_the_next_file_the_same_inode(rigs: Rigs) -> None:
    rig = rigs(0, 1)
    rig.write(5)
    rig.drain()
    rig.stop()
    # With one file the engine unlinks it and makes another: most file systems give it the number
    # that has become free.
    rig.source.rotate()
    rig.write(20)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_the_engines_file_is_truncated_by_hand(rig: Rig) -> None:
    rig.write(5)
    rig.drain()
    os.truncate(rig.source.path, 0)
    rig.write(3)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_zeros_before_the_first_line_are_passed_over(rig: Rig) -> None:
    rig.source.write_raw(b"\x00" * 50_000)
    rig.write(3)
    rig.drain()
    assert rig.numbers() == [0, 1, 2]


def test_kubelet_rotates(rig: Rig) -> None:
    rig.start()
    rig.write(4)
    rig.drain()
    old = rig.rotate_target(1)
    rig.write(4)
    rig.drain()
    assert re.findall(rb"line (\d+)", old.read_bytes()) == [b"0", b"1", b"2", b"3"]
    assert re.findall(rb"line (\d+)", rig.target.read_bytes()) == [b"4", b"5", b"6", b"7"]


def test_lines_between_rename_and_reopen_go_to_the_old_file(rig: Rig) -> None:
    follower = rig.start()
    rig.write(2)
    rig.drain()
    renamed = rig.target.rename(rig.target.with_name("0.log.1"))
    rig.write(2)
    rig.drain()
    follower.reopen()
    rig.write(2)
    rig.drain()
    assert len(renamed.read_bytes().splitlines()) == 4
    assert rig.numbers() == all_of(rig)


class Killed(Exception):
    """Stands for SIGKILL: whatever was not written by now, never will be."""


def killed_append(monkeypatch: pytest.MonkeyPatch, after_bytes: int) -> None:
    """The next append writes that much and no more, and nothing of it is recorded."""

    def append(target: target_module.Target, data: bytes) -> None:
        os.write(target._fd, data[:after_bytes])
        raise Killed

    monkeypatch.setattr(target_module.Target, "append", append)


@pytest.mark.parametrize("rename", [False, True], ids=["", "kubelet-renamed"])
@pytest.mark.parametrize("more", [0, 60], ids=["", "engine-rotated"])
@pytest.mark.parametrize("before", [0, 7])
@pytest.mark.parametrize("after_bytes", [0, 1, 25, 45, 46, 47, 200, 10_000])
def test_killed_within_an_append(
    rigs: Rigs,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    after_bytes: int,
    more: int,
    rename: bool,
) -> None:
    rig = rigs(2000, 6)
    rig.write(before)
    rig.drain()
    rig.write(9)
    with monkeypatch.context() as patch:
        killed_append(patch, after_bytes)
        with pytest.raises(Killed):
            rig.drain()
    rig.stop()
    if rename:
        rig.target.rename(rig.target.with_name("0.log.1"))
    rig.write(more)
    rig.drain()
    assert rig.numbers() == all_of(rig)
    assert rig.warnings == []
    assert rig.target.exists()
    rig.write(3)
    rig.start()
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_killed_before_the_new_file_is_recorded(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = rigs()
    rig.write(5)
    rig.drain()
    rig.target.rename(rig.target.with_name("0.log.1"))
    follower = rig.follower
    assert follower is not None
    with monkeypatch.context() as patch:

        def store(_self: object, _position: object) -> None:
            raise Killed

        patch.setattr("asupervisor.logs.position.PositionFile.store", store)
        with pytest.raises(Killed):
            follower.reopen()
    rig.stop()
    rig.write(5)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_the_position_is_lost(rig: Rig) -> None:
    rig.write(6)
    rig.drain()
    rig.stop()
    rig.position.unlink()
    rig.write(6)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_the_position_is_lost_just_after_a_rotation(rig: Rig) -> None:
    rig.write(6)
    rig.drain()
    rig.rotate_target(1)
    rig.stop()
    rig.position.unlink()
    rig.write(6)
    rig.drain()
    assert rig.numbers() == all_of(rig)


@pytest.mark.parametrize("lost_bytes", [0, 1, 30, 47, 300, 100_000])
@pytest.mark.parametrize("garbage", [b"", b"\x00" * 700, b"\x00\n\x00"])
def test_the_machine_crashes_with_target_pages_unwritten(
    rig: Rig, lost_bytes: int, garbage: bytes
) -> None:
    rig.write(30)
    rig.drain()
    rig.stop()
    os.truncate(rig.target, max(0, rig.target.stat().st_size - lost_bytes))
    with rig.target.open("ab") as file:
        file.write(garbage)
    rig.write(5)
    rig.start(_NEXT_BOOT)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_the_machine_crashes_with_source_pages_unwritten(rig: Rig) -> None:
    rig.write(30)
    rig.drain()
    rig.stop()
    os.truncate(rig.source.path, rig.source.path.stat().st_size // 2 + 11)
    rig.start(_NEXT_BOOT)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_the_machine_crashes_after_the_engine_dropped_what_the_target_lost(rigs: Rigs) -> None:
    rig = rigs(1000, 2)
    rig.start()
    for _ in range(40):
        rig.write(1)
        rig.drain()
    rig.stop()
    os.truncate(rig.target, 300)
    rig.start(_NEXT_BOOT)
    rig.drain()
    numbers = rig.numbers()
    assert numbers == sorted(set(numbers))
    assert numbers[:4] == [0, 1, 2, 3]
    assert numbers[-1] == 39


def test_a_full_disk_is_waited_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = rig.start()
    rig.write(10)
    with monkeypatch.context() as patch:

        def append(target: target_module.Target, data: bytes) -> None:
            os.write(target._fd, data[:100])
            raise OSError(28, "No space left on device")

        patch.setattr(target_module.Target, "append", append)
        with pytest.raises(OSError, match="No space"):
            rig.drain()
        follower.recover()
    rig.write(10)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_a_symbolic_link_at_the_target_is_refused(rig: Rig) -> None:
    rig.target.parent.mkdir(parents=True)
    rig.target.symlink_to(rig.source.path)
    with pytest.raises(OSError, match="symbolic"):
        rig.start()


def test_a_rotation_that_failed_while_nobody_served_it(rig: Rig) -> None:
    rig.write(5)
    rig.drain()
    rig.stop()
    renamed = rig.target.rename(rig.target.with_name("0.log.1"))
    rig.start()
    rig.write(3)
    rig.drain()
    # kubelet got no answer and takes its rename back, over the file that was made meanwhile.
    renamed.rename(rig.target)
    rig.drain()
    rig.write(3)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_a_removed_target_waits_for_its_reopening(rig: Rig) -> None:
    follower = rig.start()
    rig.write(2)
    rig.drain()
    rig.target.unlink()
    rig.write(2)
    rig.drain()
    assert not rig.target.exists()
    follower.reopen()
    rig.write(2)
    rig.drain()
    assert rig.numbers() == [4, 5]


def test_two_streams_keep_their_order(rig: Rig) -> None:
    rig.start()
    for number in range(200):
        rig.write(1, "stderr" if number % 3 else "stdout")
    rig.drain()
    assert rig.numbers() == all_of(rig)
    assert rig.target.read_bytes().count(b" stderr ") == 133


def test_no_more_than_so_many_files_are_kept_open(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asupervisor.logs.source._MAX_OPEN", 3)
    rig = rigs(500, 2)
    follower = rig.start()
    for _ in range(60):
        rig.write(1)
        follower._source.discover()
    assert len(follower._source.chain) == 3
    rig.drain()
    numbers = rig.numbers()
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 59
    assert len(numbers) < 60
    assert any("missing" in warning for warning in rig.warnings)


def test_no_more_than_so_many_bytes_are_kept_from_the_disk(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asupervisor.logs.source._MAX_PENDING_BYTES", 2000)
    rig = rigs(500, 2)
    follower = rig.start()
    for _ in range(60):
        rig.write(1)
        follower._source.discover()
    assert 2000 <= follower.lag() < 3000
    rig.drain()
    numbers = rig.numbers()
    assert numbers == sorted(set(numbers)) and numbers[-1] == 59
    assert any("missing" in warning for warning in rig.warnings)


def test_a_line_that_the_end_left_open_is_ended_once(rig: Rig) -> None:
    rig.write(2)
    rig.source.write(b"left open", "stderr")
    rig.source.write(b"and this one")
    follower = rig.start()
    rig.drain()
    written = rig.target.read_bytes()
    assert written.count(b" P ") == 2, "more may come while it runs"
    follower.end()
    follower.end()
    follower = rig.start()
    rig.drain()
    follower.end()
    ends = rig.target.read_bytes().removeprefix(written)
    assert sorted(re.findall(rb"(?m)^\S+ (\w+ F .*)$", ends)) == [b"stderr F ", b"stdout F "]
    assert ends.count(b"\n") == 2 and rig.warnings == []


def test_a_log_that_ended_with_a_newline_stays_as_it_is(rig: Rig) -> None:
    rig.write(3)
    follower = rig.start()
    follower.end()
    rig.drain()
    follower.end()
    assert rig.numbers() == [0, 1, 2]
    rig.source.write(b"part")
    rig.source.write(b" and end\n")
    rig.drain()
    written = rig.target.read_bytes()
    follower.end()
    assert rig.target.read_bytes() == written


def test_a_container_that_runs_again_goes_on_after_its_end(rig: Rig) -> None:
    rig.source.write(b"open")
    rig.start()
    rig.drain()
    assert rig.follower is not None
    rig.follower.end()
    rig.write(2)
    rig.start()
    rig.drain()
    contents = [line.split(b" ", 3)[2:] for line in rig.target.read_bytes().splitlines()]
    assert contents == [[b"P", b"open"], [b"F", b""], [b"F", b"line 0"], [b"F", b"line 1"]]
    assert rig.warnings == []
