"""Paths beneath a held directory: no link, nothing but regular files, nothing emptied."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from asupervisor.host.beneath import (
    HeldDirectory,
    UnsafePath,
    look_within,
    read_regular,
    remove_tree,
)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device needs CAP_MKNOD")


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _magic_link(path: Path) -> None:
    path.symlink_to("/proc/self/fd/0")


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("missing"))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (Path.mkdir, "a directory"),
        (_fifo, "a FIFO"),
        (_socket, "a socket"),
        (_device, "a character device"),
        (_link, "a symbolic link"),
        (_magic_link, "a symbolic link"),
        (_dangling, "a symbolic link"),
    ],
)
def test_what_is_not_a_regular_file_is_named_and_not_opened(
    tmp_path: Path, make: Callable[[Path], None], named: str
) -> None:
    make(tmp_path / "x")
    with HeldDirectory.at(str(tmp_path)) as held:
        for access in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR):
            with pytest.raises(UnsafePath, match=f"{tmp_path}/x is {named}, not a regular file"):
                held.open("x", access)
        with pytest.raises(FileExistsError):
            held.make("x", 0o600)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "path", ["", ".", "..", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\0b"]
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "a").mkdir()
    with HeldDirectory.at(str(tmp_path)) as held:
        for act in (
            lambda: held.open(path, os.O_RDONLY),
            lambda: held.make(path, 0o600),
            lambda: held.below(path, make=0o755),
            lambda: held.unlink(path),
            lambda: held.status(path),
        ):
            with pytest.raises(UnsafePath):
                act()


@pytest.mark.parametrize("where", ["a", "a/b"])
def test_a_directory_that_was_swapped_for_a_link_leads_nowhere(tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "file").write_text("canary")
    (outside / "b" / "file").write_text("canary")
    held_path = tmp_path / "held"
    (held_path / where).parent.mkdir(parents=True)
    (held_path / where).symlink_to(outside if where == "a" else outside / "b")
    with HeldDirectory.at(str(held_path)) as held:
        with pytest.raises(UnsafePath, match="a symbolic link, not a directory"):
            held.open(f"{where}/file", os.O_RDWR)
        with pytest.raises(UnsafePath):
            held.make(f"{where}/new", 0o600)
        with pytest.raises(UnsafePath):
            held.below(f"{where}/new", make=0o755)
    assert sorted(os.listdir(outside)) == ["b", "file"]


def test_a_directory_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "elsewhere").mkdir()
    with HeldDirectory.at(str(tmp_path / "pod")) as held:
        (tmp_path / "pod").rename(tmp_path / "moved")
        (tmp_path / "pod").symlink_to(tmp_path / "elsewhere")
        os.close(held.make("log", 0o640))
    assert os.listdir(tmp_path / "moved") == ["log"] and not os.listdir(tmp_path / "elsewhere")


def test_links_above_the_held_directory_are_the_operators(tmp_path: Path) -> None:
    (tmp_path / "disk" / "pods").mkdir(parents=True)
    (tmp_path / "log").symlink_to(tmp_path / "disk")
    with HeldDirectory.at(str(tmp_path / "log" / "pods")) as held:
        os.close(held.make("x", 0o600))
    assert (tmp_path / "disk" / "pods" / "x").exists()


def test_what_is_there_is_not_emptied_and_what_is_made_has_its_mode(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        with HeldDirectory.at(str(tmp_path)) as held, held.below("a/b", make=0o755) as below:
            os.close(below.make("x", 0o640))
            (tmp_path / "a" / "b" / "x").write_text("one\n")
            descriptor = held.open("a/b/x", os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, b"two\n")
            os.close(descriptor)
            assert held.read("a/b/x", 100) == b"one\ntwo\n"
            with pytest.raises(FileExistsError):
                held.make("a/b/x", 0o600)
            assert below.names(9) == ["x"] and below.path == f"{tmp_path}/a/b"
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "a" / "b" / "x").stat().st_mode) == 0o640


def test_a_file_longer_than_its_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 11)
    with HeldDirectory.at(str(tmp_path)) as held:
        assert held.read("x", 11) == b"x" * 11
        with pytest.raises(UnsafePath, match="longer than 10 bytes"):
            held.read("x", 10)
    with pytest.raises(UnsafePath, match="longer than 4096 bytes"):
        read_regular(str(_long(tmp_path)), 4096)
    with pytest.raises(UnsafePath, match="a character device"):
        read_regular("/dev/zero", 4096)


def _long(directory: Path) -> Path:
    path = directory / "long"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return path


def test_no_descriptor_is_left_whatever_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to("/")
    before = os.listdir("/proc/self/fd")
    with HeldDirectory.at(str(tmp_path)) as held:
        for path in ("a/link/x", "a/missing/x", "a/link", "a", "missing"):
            with pytest.raises(OSError):  # noqa: PT011
                held.open(path, os.O_RDONLY)
            with pytest.raises(OSError):  # noqa: PT011
                held.below(f"{path}/link/y" if path != "missing" else "missing")
        assert held.status("a/missing") is None
    assert os.listdir("/proc/self/fd") == before


def test_a_path_is_looked_at_as_within_a_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "run" / "deep").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "run" / "socket").write_text("theirs")
    (tmp_path / "outside").write_text("ours")
    (root / "var" / "run").symlink_to("/run")
    (root / "up").symlink_to("../../run/deep/../socket")
    (root / "kernel").symlink_to("/proc/self/root")
    inside = (root / "run" / "socket").stat()
    for path in ("/run/socket", "/var/run/socket", "/up", "/../../run/./socket", "//run//socket"):
        assert os.path.samestat(look_within(str(root), path), inside), path
    for path in (str(tmp_path / "outside"), "/../outside", f"/kernel{tmp_path}/outside", "/none"):
        with pytest.raises(FileNotFoundError):
            look_within(str(root), path)


def test_a_maze_within_a_root_ends(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "maze").symlink_to("maze/" * 400)
    before = os.listdir("/proc/self/fd")
    for path in ("/loop", "/maze", "/." * 2000):
        with pytest.raises(UnsafePath, match="steps away"):
            look_within(str(tmp_path), path)
    assert os.listdir("/proc/self/fd") == before


def test_a_tree_is_removed_however_deep_and_wide_it_is(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"kept")
    tree = tmp_path / "tree"
    tree.mkdir()
    descriptor = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.symlink(tmp_path / "kept", "link", dir_fd=descriptor)
        os.mkdir("deeper", dir_fd=descriptor)
        below = os.open("deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    for number in range(3000):
        (tree / f"{number}").mkdir()
        _fifo(tree / "deeper" / f"{number}")
    before = os.listdir("/proc/self/fd")
    remove_tree(str(tree))
    assert not tree.exists() and (tmp_path / "kept" / "file").read_bytes() == b"kept"
    tree.symlink_to(tmp_path / "kept")
    with pytest.raises(UnsafePath, match="a symbolic link"):
        remove_tree(str(tree))
    with pytest.raises(FileNotFoundError):
        remove_tree(str(tmp_path / "none"))
    assert (tmp_path / "kept" / "file").exists() and os.listdir("/proc/self/fd") == before
