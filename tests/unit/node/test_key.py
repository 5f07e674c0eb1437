"""The node's key: made once, secret, replaced when it proves nothing, an error when it cannot be
read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.node.key import load_key


def test_it_is_made_once_and_for_root_alone(tmp_path: Path) -> None:
    key = load_key(tmp_path / "root")
    path = tmp_path / "root" / "provenance" / "key"
    assert len(key) == 32 and key == load_key(tmp_path / "root") == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["key"], "nothing is left of the making"
    assert load_key(tmp_path / "other") != key


@pytest.mark.parametrize("content", [b"", b"k" * 16, b"k" * 33])
def test_one_that_is_cut_is_replaced(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_key(tmp_path)
    path = tmp_path / "provenance" / "key"
    path.write_bytes(content)
    second = load_key(tmp_path)
    assert second not in (first, content) and load_key(tmp_path) == second
    assert str(path) in caplog.text and second.hex() not in caplog.text


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_one_that_others_can_read_or_write_is_replaced(tmp_path: Path, mode: int) -> None:
    first = load_key(tmp_path)
    path = tmp_path / "provenance" / "key"
    path.chmod(mode)
    assert load_key(tmp_path) != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_making_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "provenance").mkdir()
    (tmp_path / "provenance" / ".key").write_bytes(b"half")
    assert len(load_key(tmp_path)) == 32
    assert os.listdir(tmp_path / "provenance") == ["key"]


def test_one_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "provenance" / "key"
    path.mkdir(parents=True)
    with pytest.raises(FailedPrecondition, match=f"{path}.*remove it"):
        load_key(tmp_path)
    path.rmdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FailedPrecondition, match=str(path)):
        load_key(tmp_path)
    path.parent.joinpath("key").unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"")
    with pytest.raises(FailedPrecondition, match=str(path)):
        load_key(tmp_path)


def test_a_pipe_in_its_place_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "provenance" / "key"
    path.parent.mkdir()
    os.mkfifo(path, 0o600)
    assert len(load_key(tmp_path)) == 32 and path.is_file()
