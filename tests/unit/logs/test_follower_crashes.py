"""What a follower that was killed, a machine that crashed, or a full disk leaves is made whole."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from asupervisor.logs import target as target_module
from asupervisor.logs.position import PositionFile
from tests.unit.logs.rig import BOOT, NEXT_BOOT, Rig, Rigs, all_of


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


@pytest.mark.parametrize("compressed", [False, True], ids=["", "engine-compressed"])
@pytest.mark.parametrize("more", [0, 60], ids=["", "engine-rotated"])
@pytest.mark.parametrize("by", ["killed", "started again", "alive"])
def test_kubelet_takes_a_rotation_back_over_the_new_file(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch, by: str, more: int, compressed: bool
) -> None:
    """The service dies before its answer, so kubelet renames the old file over the new one."""
    rig = rigs(2000, 6, compress=compressed)
    rig.write(5)
    rig.drain()
    renamed = rig.rotate_target(1)
    rig.write(4)
    rig.drain()
    if by == "killed":
        rig.stop()
    elif by == "started again":
        rig.start()
    renamed.rename(rig.target)
    rig.drain()
    assert rig.numbers() == all_of(rig)
    rig.write(more + 3)
    # From here on the old file is ours again, and a kill within an append does not matter.
    with monkeypatch.context() as patch:
        killed_append(patch, 30)
        with pytest.raises(Killed):
            rig.drain()
    rig.start()
    rig.drain()
    assert rig.numbers() == all_of(rig)
    assert rig.warnings == []


@pytest.mark.parametrize("by", ["killed", "started again", "alive"])
def test_kubelet_takes_a_rotation_back_and_rotates_again_before_that_is_noticed(
    rig: Rig, by: str
) -> None:
    rig.write(5)
    rig.drain()
    renamed = rig.rotate_target(1)
    rig.write(4)
    rig.drain()
    if by == "killed":
        rig.stop()
    elif by == "started again":
        rig.start()
    renamed.rename(rig.target)
    rig.write(2)
    rig.target.rename(renamed)
    if by == "killed":
        rig.start()
    assert rig.follower is not None
    rig.follower.reopen()
    rig.write(3)
    rig.drain()
    assert rig.target.exists()
    assert rig.numbers() == all_of(rig)
    assert rig.warnings == []


def test_the_new_file_is_taken_away_and_not_made_up_for(rig: Rig) -> None:
    rig.write(5)
    rig.drain()
    rig.rotate_target(1).unlink()
    rig.write(4)
    rig.drain()
    rig.stop()
    rig.target.unlink()
    rig.write(3)
    rig.drain()
    assert rig.numbers() == [9, 10, 11]


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
    rig.start(NEXT_BOOT)
    rig.drain()
    assert rig.numbers() == all_of(rig)


def test_the_machine_crashes_with_source_pages_unwritten(rig: Rig) -> None:
    rig.write(30)
    rig.drain()
    rig.stop()
    os.truncate(rig.source.path, rig.source.path.stat().st_size // 2 + 11)
    rig.start(NEXT_BOOT)
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
    rig.start(NEXT_BOOT)
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


def test_a_file_that_was_asked_for_twice_is_made_up_for(rig: Rig) -> None:
    """The path names the new file already when kubelet asks for it; then it takes it back."""
    rig.write(5)
    rig.drain()
    renamed = rig.rotate_target(1)
    rig.write(4)
    rig.drain()
    assert rig.follower is not None
    rig.follower.reopen()
    renamed.rename(rig.target)
    rig.stop()
    rig.write(3)
    rig.drain()
    assert rig.numbers() == all_of(rig)
    assert rig.warnings == []


def test_an_empty_file_with_the_inode_of_a_lost_one_is_another(rig: Rig) -> None:
    """kubelet takes a rotation back over the new file and rotates again; the next file is made
    right before a kill, and the file system gives it the lost one's inode.
    """
    rig.write(5)
    rig.drain()
    renamed = rig.rotate_target(1)
    rig.write(4)
    rig.drain()
    rig.stop()
    renamed.rename(rig.target)
    rig.target.rename(renamed)
    rig.target.touch()
    file = PositionFile(str(rig.position), BOOT)
    lost = file.load()
    assert lost is not None and lost.target_offset > 0
    file.store(replace(lost, target_inode=rig.target.stat().st_ino))
    file.close()
    rig.write(3)
    rig.drain()
    assert rig.numbers() == all_of(rig)
    assert rig.warnings == []


def test_an_empty_file_with_the_inode_of_one_that_was_lost_empty_is_another(rig: Rig) -> None:
    """As above, but nothing had been written to the lost one, and the file of before it was written
    to once more before a kill, of which no position tells.
    """
    rig.write(5)
    rig.drain()
    renamed = rig.rotate_target(1)
    rig.stop()
    file = PositionFile(str(rig.position), BOOT)
    lost = file.load()
    assert lost is not None and lost.target_offset == 0
    renamed.rename(rig.target)
    rig.write(3)
    rig.drain()
    rig.stop()
    rig.target.rename(renamed)
    rig.target.touch()
    assert file.load() is not None
    file.store(replace(lost, target_inode=rig.target.stat().st_ino))
    file.close()
    rig.write(3)
    rig.drain()
    assert rig.numbers() == all_of(rig)
    assert rig.warnings == []
