"""The writable layer of a checkpoint's archive."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asupervisor.dockershim.container.archive import _Exactly, _write_layer
from asupervisor.host import beneath


@contextmanager
def layer(upper: Path) -> Iterator[tarfile.TarFile]:
    with tempfile.TemporaryFile() as file:
        _write_layer(file, upper)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            yield archive


def test_a_layer_has_everything_as_it_is_and_follows_no_link(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc" / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("of the host")
    (upper / "etc" / "file").write_bytes(b"content")
    (upper / "etc" / "file").chmod(0o640)
    os.link(upper / "etc" / "file", upper / "etc" / "deep" / "same")
    (upper / "link").symlink_to(tmp_path / "secret")
    (upper / "directory").symlink_to(tmp_path)
    os.mkfifo(upper / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(upper / "socket"))
    with layer(upper) as archive:
        members = {member.name: member for member in archive}
        assert set(members) == {
            "etc",
            "etc/deep",
            "etc/deep/same",
            "etc/file",
            "link",
            "directory",
            "fifo",
        }
        assert members["link"].issym() and members["link"].linkname == str(tmp_path / "secret")
        assert members["directory"].issym() and members["fifo"].isfifo()
        assert members["etc/file"].mode == 0o640
        assert {members["etc/file"].type, members["etc/deep/same"].type} == {
            tarfile.REGTYPE,
            tarfile.LNKTYPE,
        }
        assert archive.extractfile("etc/file").read() == b"content"  # type: ignore[union-attr]
        assert archive.extractfile("etc/deep/same").read() == b"content"  # type: ignore[union-attr]


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root makes the device that stands for a removed file"
)
def test_what_was_removed_stands_there_as_in_an_image(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mknod(tmp_path / "etc" / "group", stat.S_IFCHR, 0)
    os.mknod(tmp_path / "top", stat.S_IFCHR, 0)
    with layer(tmp_path) as archive:
        assert set(archive.getnames()) == {"etc", "etc/.wh.group", ".wh.top"}


@pytest.mark.parametrize(
    ("content", "size", "expected"),
    [(b"grown on", 5, b"grown"), (b"cut", 5, b"cut\0\0"), (b"same", 4, b"same")],
)
def test_a_file_that_changes_while_it_is_read_breaks_nothing(
    content: bytes, size: int, expected: bytes
) -> None:
    file = _Exactly(io.BytesIO(content), size)
    assert file.read(3) + file.read(100) == expected
    assert file.read(10) == b""


def test_what_a_container_puts_in_a_files_place_is_neither_opened_nor_the_end_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs on while its layer is archived."""
    upper = tmp_path / "upper"
    upper.mkdir()
    for name in ("0", "device", "gone", "link", "z"):
        (upper / name).write_text("content")
    ask = tarfile.TarFile.gettarinfo

    def swap(self: tarfile.TarFile, path: str, name: str) -> tarfile.TarInfo:
        if name == "gone":
            (upper / name).unlink()
        member = ask(self, path, name)
        if name == "device":
            (upper / name).unlink()
            os.mkfifo(upper / name)
        if name == "link":
            (upper / name).unlink()
            (upper / name).symlink_to("/etc/hostname")
        return member

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", swap)
    with layer(upper) as archive:
        assert archive.getnames() == ["0", "z"]


def test_a_layer_of_many_files_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(50):
        (tmp_path / str(index)).touch()
    remembered: list[int] = []
    add = tarfile.TarFile.addfile

    def count(self: Any, member: tarfile.TarInfo, content: Any = None) -> None:
        add(self, member, content)
        remembered.append(len(self.members) + len(self.inodes))

    monkeypatch.setattr(tarfile.TarFile, "addfile", count)
    with tempfile.TemporaryFile() as file:
        _write_layer(file, tmp_path)
    assert len(remembered) == 50 and max(remembered) == 1


def test_a_file_of_holes_does_not_fill_the_disk(tmp_path: Path) -> None:
    """A container makes one of any length at no cost; an archive has every byte of it."""
    disk = os.statvfs(tmp_path)
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(disk.f_blocks * disk.f_frsize)
    with tempfile.TemporaryFile(dir=tmp_path.parent) as file, pytest.raises(OSError, match="holes"):
        _write_layer(file, tmp_path)


@pytest.mark.parametrize(("levels", "fits"), [(1500, True), (2500, False)])
def test_directories_of_any_depth_end_in_a_layer_or_an_error_that_names_them(
    levels: int, fits: bool, tmp_path: Path
) -> None:
    """A container makes them deeper than a function may call itself."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    try:
        with tempfile.TemporaryFile() as file:
            if fits:
                _write_layer(file, tmp_path)
                file.seek(0)
                with tarfile.open(fileobj=file) as archive:
                    assert len(archive.getnames()) == levels
            else:
                with pytest.raises(OSError, match="nested too deeply"):
                    _write_layer(file, tmp_path)
    finally:
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)


def test_more_directories_than_are_remembered_end_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath, "_PENDING_BYTES", 1000)
    for number in range(100):
        (tmp_path / f"directory{number}").mkdir()
    with tempfile.TemporaryFile() as file, pytest.raises(OSError, match="too many"):
        _write_layer(file, tmp_path)


def test_names_of_files_that_have_several_cost_a_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asupervisor.dockershim.container.archive._LINKED_BYTES", 5000)
    for number in range(10):
        (tmp_path / f"{number}").write_bytes(b"")
    with layer(tmp_path) as archive:
        assert len(archive.getnames()) == 10
    for number in range(10):
        os.link(tmp_path / f"{number}", tmp_path / f"{number}-again")
    with pytest.raises(OSError, match="several names"), layer(tmp_path):
        pass
