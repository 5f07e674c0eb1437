"""Log files where containers can write too: no link followed, nothing of others lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from asupervisor.host.beneath import HeldDirectory, UnsafePath
from asupervisor.logs.follower import FileFollower
from asupervisor.logs.frames import Message
from asupervisor.logs.position import PositionFile
from asupervisor.logs.stream import StreamFollower
from asupervisor.logs.target import Target, find_renamed, newest_renamed, read_end
from tests.harness.engine_log import EngineLog

_BOOT, _NEXT_BOOT = b"1" * 16, b"2" * 16


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a container's log goes; its directory is there."""
    path = tmp_path / "pods" / "ns_pod_uid" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (os.mkfifo, "a FIFO"),
        (Path.mkdir, "a directory"),
        (_socket, "a socket"),
        (lambda path: path.symlink_to("/etc/hostname"), "a symbolic link"),
    ],
)
def test_what_is_not_a_regular_file_is_an_error_that_names_it(
    log: Path, make: Callable[[Path], None], named: str
) -> None:
    make(log)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(UnsafePath, match=f"{log} is {named}"):
        Target(str(log))
    with pytest.raises(UnsafePath):
        FileFollower(str(log) + "-json", str(log), f"{log}.position", _BOOT, print)
    with pytest.raises(UnsafePath):
        _stream(log)
    assert os.listdir("/proc/self/fd") == before


def _stream(log: Path) -> StreamFollower:
    position = PositionFile(f"{log.parents[3]}/position", _BOOT)
    return StreamFollower("unix:///no", "c", str(log), position, print, tty=False)


@pytest.mark.parametrize("up", [0, 1])
def test_a_directory_that_was_swapped_for_a_link_is_not_written_to(
    log: Path, tmp_path: Path, up: int
) -> None:
    outside = tmp_path / "outside"
    (outside / "app").mkdir(parents=True)
    victim = outside / ("app/0.log" if up else "0.log")
    victim.write_text("canary")
    swapped = log.parents[up]
    swapped.rename(tmp_path / "moved")
    swapped.symlink_to(outside)
    for path in (log, log.with_name("1.log")):
        with pytest.raises(UnsafePath, match="a symbolic link, not a directory"):
            Target(str(path))
    with pytest.raises(UnsafePath):
        newest_renamed(str(log))
    with pytest.raises(UnsafePath):
        find_renamed(str(log), victim.stat().st_ino)
    with pytest.raises(UnsafePath):
        read_end(str(log), 10)
    assert victim.read_text() == "canary"
    assert not (victim.parent / "1.log").exists()


def test_a_swap_while_the_file_is_open_changes_nothing(log: Path, tmp_path: Path) -> None:
    target = Target(str(log))
    outside = tmp_path / "outside"
    outside.mkdir()
    log.unlink()
    log.parent.rename(tmp_path / "moved")
    log.parent.symlink_to(outside)
    target.append(b"line\n")
    assert not target.replaced()
    target.close()
    assert os.listdir(outside) == []


def test_links_above_the_pods_directory_are_the_operators(log: Path, tmp_path: Path) -> None:
    (tmp_path / "var").symlink_to(tmp_path / "pods")
    target = Target(str(tmp_path / "var" / "ns_pod_uid" / "app" / "0.log"))
    target.append(b"line\n")
    target.close()
    assert log.read_bytes() == b"line\n"


FOREIGN = [
    b"no log at all",
    b"no log at all\n",
    b"\x00" * 100,
    b"2020-01-01T00:00:00.000000000Z stdout F of another container\n",
    b"2020-01-01T00:00:00.000000000Z stdout F of another container\n2020-01-01T00:00:00.000000",
]


@pytest.mark.parametrize("content", FOREIGN)
@pytest.mark.parametrize("boot", [_BOOT, _NEXT_BOOT])
def test_what_a_file_held_before_stays(
    log: Path, tmp_path: Path, content: bytes, boot: bytes
) -> None:
    log.write_bytes(content)
    source = EngineLog(tmp_path / "engine" / "c-json.log")
    position = str(tmp_path / "position")
    numbers = iter(range(100))

    def follow(boot: bytes) -> None:
        follower = FileFollower(str(source.path), str(log), position, boot, print)
        for _ in range(3):
            source.write(b"line %d\n" % next(numbers))
        while follower.turn(4096) or not follower.drained:
            pass
        follower.close()

    follow(_BOOT)
    first = log.read_bytes()
    follow(boot)
    source.close()
    begin = content if content.endswith(b"\n") else content + b"\n"
    assert first.startswith(begin) and log.read_bytes().startswith(first)
    lines = log.read_bytes()[len(begin) :].splitlines()
    assert [line.split(b" F ")[1] for line in lines] == [b"line %d" % n for n in range(6)]


@pytest.mark.parametrize("content", FOREIGN)
def test_what_a_file_held_before_a_stream_stays(log: Path, content: bytes) -> None:
    log.write_bytes(content)
    for _ in range(2):
        follower = _stream(log)
        follower.recover()
        follower.close()
    assert log.read_bytes() == content


def test_a_line_of_ours_that_was_torn_is_cut_from_a_stream(log: Path) -> None:
    _stream(log).close()
    whole = b"2020-01-01T00:00:00.000000000Z stdout F whole\n"
    log.write_bytes(whole + b"2020-01-01T00:00:00.0000")
    _stream(log).close()
    assert log.read_bytes() == whole


def test_rotated_files_are_regular_ones(log: Path) -> None:
    log.with_name("0.log.1").write_text("old")
    os.utime(log.with_name("0.log.1"), (1, 1))
    log.with_name("0.log.2").symlink_to("/etc/hostname")
    os.mkfifo(log.with_name("0.log.3"))
    assert newest_renamed(str(log)) == f"{log}.1"
    assert find_renamed(str(log), Path("/etc/hostname").stat().st_ino) is None


def test_a_bare_carriage_return_does_not_double_a_line_of_a_stream(log: Path) -> None:
    follower = _stream(log)
    time = b"2026-01-01T00:00:00.000000000Z"
    messages = [
        Message(time, b"stdout", content)
        for content in (b"50%\r100%\n", b"\r\n", b"a\x0bb\x1cc\n", b"plain\n", b"\rplain\n")
    ]
    follower._write(messages)
    written = log.read_bytes()
    follower.close()
    follower = _stream(log)
    assert follower._overlap().startswith("17672"), "the file's last second is read again"
    follower._write(messages)
    assert log.read_bytes() == written and written.count(b"\n") == 5
    follower.close()


@pytest.mark.parametrize("path", ["/", "/.", "", "//."])
def test_a_path_without_a_file_is_an_error(path: str) -> None:
    with pytest.raises(OSError, match="not a path of a file"):
        Target(path)


def test_a_directory_full_of_names_costs_no_more_than_some_of_them(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.touch()
    for number in range(6000):
        (log.parent / f"0.log.{number}").touch()
    looked: list[object] = []
    look = HeldDirectory.status

    def noted(held: HeldDirectory, name: str) -> os.stat_result | None:
        looked.append(name)
        return look(held, name)

    monkeypatch.setattr(HeldDirectory, "status", noted)
    assert newest_renamed(str(log)) is not None
    assert find_renamed(str(log), -1) is None
    assert len(looked) <= 2 * 4096


_WHOLE = b"2026-01-02T03:04:05.000000000Z stdout F x\n"


@pytest.mark.parametrize(
    "torn", [b"2026-01-02T03", bytes(3 << 20), b"\n" * (3 << 20), b"a b " * 4096 + b"\n"]
)
def test_what_follows_the_last_whole_line_is_found(log: Path, torn: bytes) -> None:
    log.write_bytes(_WHOLE * 3 + torn)
    target = Target(str(log))
    assert target.whole_lines() == 3 * len(_WHOLE)
    assert target.last_lines() == (_WHOLE.split(b" ")[0], 0)
    target.close()


def test_a_file_of_any_length_is_looked_at_from_its_end_only(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that mounts its log directory makes it as long as it likes."""
    log.write_bytes(_WHOLE)
    os.truncate(log, 1 << 40)
    read: list[int] = []

    def count(target: Target, size: int, offset: int) -> bytes:
        read.append(size)
        return os.pread(target._fd, size, offset)

    monkeypatch.setattr(Target, "read", count)
    target = Target(str(log))
    assert target.whole_lines() == target.size(), "nothing of it is torn off"
    assert target.last_lines() == (b"", 0)
    target.end_lines()
    target.close()
    assert sum(read) < 64 << 20
    assert log.stat().st_size == 1 << 40


def test_a_replaced_file_of_any_length_is_not_copied(log: Path, tmp_path: Path) -> None:
    source = EngineLog(tmp_path / "c-json.log")
    source.write(b"a\n")
    said: list[str] = []
    follower = FileFollower(str(source.path), str(log), f"{log}.position", _BOOT, said.append)
    while follower.turn(4096) or not follower.drained:
        pass
    os.truncate(log, 1 << 40)
    other = log.with_name("other")
    other.write_bytes(b"of somebody else\n")
    other.rename(log)
    for line in (b"lost with it\n", b"b\n"):
        source.write(line)
        while follower.turn(4096) or not follower.drained:
            pass
    follower.close()
    source.close()
    assert any("too long to be copied" in one for one in said)
    others, ours = log.read_bytes().splitlines()
    assert others == b"of somebody else" and ours.endswith(b"stdout F b")


@pytest.mark.parametrize(
    "written",
    [
        b"abcd-ef-ghTij:kl:mn.op stdout F x",
        b"2026-13-41T25:61:61.000000001Z stdout F x",
        b"2026-01-02T03:04:09.1&tail=0&until=1Z stdout F x",
        b"0000-01-01T00:00:00.0Z stdout F x",
        b"2026-01-02T03:04:09.\xd9\xa1Z stdout F x",
    ],
)
def test_what_a_container_writes_into_its_log_is_no_time_to_ask_the_engine_for(
    log: Path, written: bytes
) -> None:
    line = b"2026-01-02T03:04:05.000000006Z stdout F one\n"
    log.write_bytes(line + written + b"\n")
    endpoint = log.parents[3] / "engine.sock"
    position = PositionFile(f"{log.parents[3]}/position", _BOOT)
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(endpoint))
        engine.listen()
        follower = StreamFollower(f"unix://{endpoint}", "c", str(log), position, print, tty=False)
        try:
            assert follower.turn(1000) == 0
            with engine.accept()[0] as asked:
                assert b"&since=1767323045.000000006 " in asked.recv(1000)
        finally:
            follower.close()
