"""One container's log from file to file: growth, both rotations, and every way to stop in
between.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.harness.engine_log import EngineLog, engine_line, engine_time
from tests.unit.logs.rig import Rig, Rigs, all_of


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
