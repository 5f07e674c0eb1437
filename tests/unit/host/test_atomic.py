"""A file is as it was or as it is to be: short writes, full disks, leftovers, links."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from asupervisor.host.atomic import write_file


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state"
    former = os.umask(0o077)
    try:
        write_file(path, b"one", mode=0o640)
        write_file(path, b"second", mode=0o644)
    finally:
        os.umask(former)
    assert path.read_bytes() == b"second" and stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["state"]


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    write_file(tmp_path / "state", b"0123456789")
    assert (tmp_path / "state").read_bytes() == b"0123456789"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "state", b"before")
    write, left = os.write, [4]

    def full(descriptor: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        took, left[0] = write(descriptor, data[: left[0]]), 0
        return took

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=f"No space left .*{tmp_path}/state"):
        write_file(tmp_path / "state", b"0123456789")
    assert (tmp_path / "state").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_step_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_file(tmp_path / "state", b"before")

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_file(tmp_path / "state", b"after")
    assert (tmp_path / "state").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["state"]


def test_the_content_is_on_the_disk_before_its_name_and_then_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        steps.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def note_rename(old: Path, new: Path) -> None:
        steps.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    write_file(tmp_path / "state", b"x")
    assert steps == ["fsync .state", "rename", f"fsync {tmp_path.name}"]


def test_what_was_left_or_put_beside_it_is_not_written_through(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("canary")
    (tmp_path / ".state").symlink_to(canary)
    write_file(tmp_path / "state", b"new")
    assert canary.read_text() == "canary" and (tmp_path / "state").read_bytes() == b"new"
    (tmp_path / "link").symlink_to(canary)
    write_file(tmp_path / "link", b"new", aside=tmp_path / "beside")
    assert canary.read_text() == "canary" and not (tmp_path / "link").is_symlink()
