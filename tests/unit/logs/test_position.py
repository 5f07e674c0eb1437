"""The durable position: the newest whole record wins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asupervisor.logs.position import Position, PositionFile, boot_id

_BOOT = b"b" * 16
_FIRST = Position(source_inode=7, source_offset=100, target_inode=8, target_offset=50, tail=b"tail")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "c.position")


def stored(path: str, *positions: Position, boot: bytes = _BOOT) -> None:
    file = PositionFile(path, boot)
    file.load()
    for position in positions:
        file.store(position)
    file.close()


def loaded(path: str, boot: bytes = _BOOT) -> Position | None:
    file = PositionFile(path, boot)
    position = file.load()
    file.close()
    return position


def test_the_last_record_is_read(path: str) -> None:
    for count in range(1, 5):
        stored(path, *(replace(_FIRST, source_offset=number) for number in range(1, count + 1)))
        position = loaded(path)
        assert position is not None
        assert position.source_offset == count


def test_a_new_file_has_none(path: str) -> None:
    assert loaded(path) is None


@pytest.mark.parametrize("damaged_byte", [0, 8, 20, 60, 195])
def test_a_damaged_record_leaves_the_one_before(path: str, damaged_byte: int) -> None:
    second = replace(_FIRST, source_offset=200)
    stored(path, _FIRST, second)
    raw = bytearray(Path(path).read_bytes())
    # The second record has an even sequence number and lies in the first slot.
    raw[damaged_byte] ^= 0xFF
    Path(path).write_bytes(bytes(raw))
    assert loaded(path) == _FIRST


def test_another_boot_is_told_apart(path: str) -> None:
    stored(path, _FIRST)
    position = loaded(path, boot=b"c" * 16)
    assert position == replace(_FIRST, this_boot=False)


def test_the_kernel_tells_the_boot() -> None:
    assert len(boot_id()) == 16
    assert boot_id() == boot_id()
