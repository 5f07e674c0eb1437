"""What a container sends as an archive is not believed."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from asupervisor.client.files import _pack, _Unpack
from asupervisor.errors import FailedPrecondition, ResourceExhausted

KINDS = {
    "dir": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
}


def archive(*entries: tuple[str, Any]) -> io.BytesIO:
    """Entries are a name and its content, or a name and ``(kind, where it leads, mode)``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, what in entries:
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                info.size, info.mode = len(what), 0o4755
                tar.addfile(info, io.BytesIO(what))
            else:
                info.type, info.linkname, info.mode = KINDS[what[0]], what[1], 0o755
                tar.addfile(info)
    buffer.seek(0)
    return buffer


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "here" / "out"


def unpack(sent: io.BytesIO, out: Path, source: str = "a", limit_bytes: int = 1 << 20) -> list[str]:
    out.parent.mkdir(exist_ok=True)
    return _Unpack(source, out, limit_bytes).run(sent)


def test_a_folder_comes_with_its_files_and_without_set_uid(out: Path) -> None:
    sent = archive(("a", ("dir", "")), ("a/x", b"one"), ("a/s/y", b"two"), ("a/z", ("hard", "a/x")))
    assert unpack(sent, out) == []
    assert (out / "x").read_bytes() == b"one" and (out / "s" / "y").read_bytes() == b"two"
    assert (out / "z").read_bytes() == b"one" and not (out / "z").samefile(out / "x")
    assert stat.S_IMODE((out / "x").stat().st_mode) == 0o755
    assert (out / "x").stat().st_uid == os.getuid()


def test_a_file_replaces_a_file_and_a_link_that_is_there(out: Path, tmp_path: Path) -> None:
    out.parent.mkdir()
    (tmp_path / "victim").write_text("kept")
    out.symlink_to(tmp_path / "victim")
    assert unpack(archive(("a", b"new")), out) == []
    assert out.read_bytes() == b"new" and not out.is_symlink()
    assert (tmp_path / "victim").read_text() == "kept"


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", b"x")],
        [("/etc/evil", b"x")],
        [("a/../../evil", b"x")],
        [("a", ("dir", "")), ("a/l", ("link", "../..")), ("a/l/evil", b"x")],
        [("a", ("dir", "")), ("a/l", ("link", "/")), ("a/l/evil", b"x")],
        [("a", ("dir", "")), ("a/l", ("link", ".")), ("a/m", ("link", "l/../.."))],
        [("a", ("link", ".."))],
        [("a", ("dir", "")), ("a/h", ("hard", "../../victim"))],
        [("a", ("dir", "")), ("a/h", ("hard", "/etc/passwd"))],
        [("a", ("dir", "")), ("a/p", ("fifo", ""))],
        [("a", ("dir", "")), ("a/d", ("device", ""))],
        [("b", b"x")],
    ],
    ids=str,
)
def test_nothing_comes_outside_and_what_is_left_out_is_said(
    out: Path, tmp_path: Path, entries: list[tuple[str, Any]]
) -> None:
    (tmp_path / "victim").write_text("secret")
    assert unpack(archive(*entries), out), "it is said"
    assert {path.name for path in tmp_path.iterdir()} == {"here", "victim"}
    assert {path.name for path in out.parent.iterdir()} <= {"out"}
    for path in out.rglob("*"):
        assert path.resolve().is_relative_to(out)
        assert path.is_dir() or path.read_bytes() == b"x"


def test_links_inside_stay_links(out: Path) -> None:
    sent = archive(
        ("a", ("dir", "")),
        ("a/s", ("dir", "")),
        ("a/x", b"one"),
        ("a/s/up", ("link", "../x")),
        ("a/down", ("link", "s/up")),
    )
    assert unpack(sent, out) == []
    assert (out / "down").read_bytes() == b"one" and os.readlink(out / "s" / "up") == "../x"


def test_a_folder_that_is_a_link_here_is_not_written_through(out: Path, tmp_path: Path) -> None:
    out.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (out / "s").symlink_to(tmp_path / "other")
    (said,) = unpack(archive(("a/s/x", b"one")), out)
    assert "symbolic link" in said and list((tmp_path / "other").iterdir()) == []


def test_sizes_are_bounded(out: Path) -> None:
    with pytest.raises(ResourceExhausted):
        unpack(archive(("a", b"x" * 2048)), out, limit_bytes=1024)
    copies = [(f"a/{n}", ("hard", "a/x")) for n in range(8)]
    with pytest.raises(ResourceExhausted):
        unpack(archive(("a/x", b"x" * 512), *copies), out, limit_bytes=1024)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"g"])
def test_a_header_does_not_cost_more_memory_than_a_name_needs(out: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, 1 << 30
    head = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(FailedPrecondition, match="impossible size"):
        unpack(io.BytesIO(head + bytes(1024)), out)


def test_headers_that_lead_backwards_end_it(out: Path) -> None:
    def pax(size: bytes) -> bytes:
        record = b"%d size=" % (len(size) + 9) + size + b"\n"
        info = tarfile.TarInfo("p")
        info.type, info.size = tarfile.XHDTYPE, len(record)
        return info.tobuf(tarfile.GNU_FORMAT) + record.ljust(512, b"\0")

    first = tarfile.TarInfo("b").tobuf(tarfile.GNU_FORMAT)
    file = tarfile.TarInfo("b").tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(tarfile.TarError):
        unpack(io.BytesIO(first + pax(b"-1536") + file + bytes(1024)), out)


def pax(name: str, content: bytes, **headers: str) -> bytes:
    """A file with extended headers; ``_`` in a key stands for a dot."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.pax_headers = {key.replace("_", "."): value for key, value in headers.items()}
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()[: buffer.tell() - 1024].rstrip(b"\0").ljust(2048, b"\0")


HOLES = {"GNU_sparse_major": "1", "GNU_sparse_minor": "0"}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", {"GNU_sparse_size": "-100000000000"}),
        (b"", {"size": "-512"}),
        (b"", {"size": "1" + "0" * 30}),
        (b"", {"GNU_sparse_size": "many"}),
        (b"", {"GNU_sparse_map": "x,y"}),
        (b"many\n", HOLES),
        (b"5000000\n" + b"0\n" * 10_000_000, HOLES),
    ],
)
def test_extended_headers_are_not_believed(
    out: Path, content: bytes, headers: dict[str, str]
) -> None:
    sent = pax("a/x", content, **headers) + pax("a/y", bytes(2048))
    with pytest.raises((FailedPrecondition, ResourceExhausted, tarfile.TarError)):
        unpack(io.BytesIO(sent), out, limit_bytes=1024)
    assert not (out / "y").exists()


def test_headers_of_headers_of_headers_end_it(out: Path) -> None:
    head = tarfile.TarInfo("p")
    head.type = tarfile.XHDTYPE
    with pytest.raises(tarfile.TarError):
        unpack(io.BytesIO(head.tobuf(tarfile.GNU_FORMAT) * 5000 + bytes(1024)), out)


def test_a_file_with_holes_comes_whole(out: Path) -> None:
    data = b"1\n512\n4\n".ljust(512, b"\0") + b"data"
    sent = pax("a", data, GNU_sparse_realsize="600", GNU_sparse_name="a", **HOLES)
    assert unpack(io.BytesIO(sent + bytes(1024)), out) == []
    assert out.read_bytes() == bytes(512) + b"data" + bytes(84)


def test_what_is_sent_to_a_container_has_no_devices_and_no_owners(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x").write_text("one")
    os.mkfifo(tmp_path / "s" / "p")
    (tmp_path / "s" / "l").symlink_to("/etc")
    with (tmp_path / "sent").open("w+b") as file:
        _pack(tmp_path / "s", "in/here", file)
        with tarfile.open(fileobj=file) as tar:
            found = {each.name: (each.uid, each.type) for each in tar}
    assert found == {
        "in/here": (0, tarfile.DIRTYPE),
        "in/here/x": (0, tarfile.REGTYPE),
        "in/here/l": (0, tarfile.SYMTYPE),
    }
