"""An image's files read out of its layers: as overlayfs shows them, and never beside them."""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

import pytest

from asupervisor.engine.layers import (
    NotAtHand,
    has_image_path,
    layer_directories,
    read_image_file,
)
from asupervisor.errors import FailedPrecondition

_LIMIT = 1 << 20


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Three empty layers, the uppermost first."""
    made = tuple(tmp_path / name for name in ("top", "middle", "bottom"))
    for layer in made:
        (layer / "etc").mkdir(parents=True)
    return made[0], made[1], made[2]


def _read(layers: tuple[Path, ...], path: str = "/etc/passwd") -> bytes:
    return read_image_file(tuple(map(str, layers)), path, _LIMIT)


def test_the_uppermost_layer_that_has_a_file_counts(layers: tuple[Path, Path, Path]) -> None:
    assert _read(layers) == b""
    (layers[2] / "etc/passwd").write_bytes(b"bottom")
    assert _read(layers) == b"bottom"
    (layers[1] / "etc/passwd").write_bytes(b"middle")
    assert _read(layers) == b"middle"


def test_links_stay_within_the_image(layers: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"of the host")
    (layers[2] / "store").mkdir()
    (layers[2] / "store/users").write_bytes(b"inside")
    link = layers[0] / "etc/passwd"
    for target in ("/store/users", "../store/users", "../../../../store/users", "/store/./users"):
        link.symlink_to(target)
        assert _read(layers) == b"inside", target
        link.unlink()
    for target in (str(tmp_path / "secret"), "../../secret", "/proc/self/root/etc/passwd"):
        link.symlink_to(target)
        assert _read(layers) == b"", target
        link.unlink()
    link.symlink_to("passwd")
    assert _read(layers) == b""
    (layers[0] / "etc2").symlink_to("/etc")
    (layers[1] / "etc/group").write_bytes(b"through a linked directory")
    assert _read(layers, "/etc2/group") == b"through a linked directory"


def test_what_is_no_regular_file_is_none_and_is_not_waited_for(
    layers: tuple[Path, Path, Path],
) -> None:
    os.mkfifo(layers[0] / "etc/passwd")
    assert _read(layers) == b""
    (layers[0] / "etc/group").mkdir()
    assert _read(layers, "/etc/group") == b""
    assert _read(layers, "/etc/passwd/below") == b""
    assert _read(layers, "/" + "x" * 300) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="devices need root")
def test_what_a_layer_removed_is_gone(layers: tuple[Path, Path, Path]) -> None:
    (layers[2] / "etc/passwd").write_bytes(b"bottom")
    os.mknod(layers[1] / "etc/passwd", stat.S_IFCHR, 0)
    assert _read(layers) == b""
    assert not has_image_path(tuple(map(str, layers)), "/etc/passwd")
    assert has_image_path(tuple(map(str, layers)), "/etc")


def _overlay_mounted(layers: tuple[Path, ...], where: Path) -> bool:
    where.mkdir()
    lower = ":".join(map(str, layers)).encode()
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.mount(b"overlay", str(where).encode(), b"overlay", 1, b"lowerdir=" + lower)
    return bool(answer == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="overlayfs' attributes need root")
def test_as_overlayfs_shows_them(layers: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (layers[2] / "etc/passwd").write_bytes(b"bottom")
    (layers[2] / "etc/group").write_bytes(b"bottom")
    (layers[0] / "etc/group").write_bytes(b"top")
    try:
        os.setxattr(layers[1] / "etc", "trusted.overlay.opaque", b"y")
    except OSError:
        pytest.skip("this file system takes no such attribute")
    if not _overlay_mounted(layers, tmp_path / "merged"):
        pytest.skip("overlayfs cannot be mounted here")
    try:
        for name in ("passwd", "group"):
            shown = tmp_path / "merged/etc" / name
            assert _read(layers, f"/etc/{name}") == (
                shown.read_bytes() if shown.exists() else b""
            ), name
    finally:
        ctypes.CDLL(None).umount2(str(tmp_path / "merged").encode(), 2)


def test_a_layer_that_refers_elsewhere_is_left_to_the_engine(
    layers: tuple[Path, Path, Path],
) -> None:
    with pytest.raises(NotAtHand):
        read_image_file((str(layers[0] / "missing"),), "/etc/passwd", _LIMIT)
    if os.geteuid() == 0:
        try:
            os.setxattr(layers[0] / "etc", "trusted.overlay.redirect", b"/elsewhere")
        except OSError:
            return
        with pytest.raises(NotAtHand):
            _read(layers)


def test_a_maze_of_links_takes_few_descriptors(layers: tuple[Path, Path, Path]) -> None:
    (layers[2] / "x").mkdir()
    (layers[2] / "x/users").write_bytes(b"at the end")
    for number in range(30):
        after = f"/l{number + 1}" if number < 29 else "/x/users"
        (layers[2] / f"l{number}").symlink_to("/x/.." * 150 + after)
    with pytest.raises(NotAtHand, match="too many directories"):
        _read(layers, "/l0")
    assert _read(layers, "/l28") == b"at the end"
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotAtHand):
        _read(layers, "/l0")
    assert os.listdir("/proc/self/fd") == before


def test_an_image_whose_layers_are_not_told_is_not_an_empty_one() -> None:
    with pytest.raises(NotAtHand):
        read_image_file((), "/etc/passwd", _LIMIT)
    with pytest.raises(NotAtHand):
        has_image_path((), "/etc/passwd")


def test_a_file_that_is_too_long_is_refused(layers: tuple[Path, Path, Path]) -> None:
    (layers[0] / "etc/passwd").write_bytes(b"x" * (_LIMIT + 1))
    with pytest.raises(FailedPrecondition, match="/etc/passwd is longer than 1048576 bytes"):
        _read(layers)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": "/u", "LowerDir": "/a:/b"}}},
            ("/u", "/a", "/b"),
        ),
        ({"GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": "/u"}}}, ("/u",)),
        ({"GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": "u"}}}, ()),
        ({"GraphDriver": {"Name": "vfs", "Data": None}}, ()),
        ({"GraphDriver": {"Name": "overlayfs", "Data": {"UpperDir": "/u"}}}, ()),
        ({"GraphDriver": None}, ()),
        ({}, ()),
    ],
)
def test_where_the_layers_are(document: dict[str, object], expected: tuple[str, ...]) -> None:
    assert layer_directories(document) == expected
