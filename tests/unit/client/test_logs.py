"""Log files of either format, in lines."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asupervisor.client.logs import LINE_BYTES, LogLine, read_line, read_log
from asupervisor.errors import FailedPrecondition

_ID = "a" * 64


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (
            b"2026-01-02T03:04:05.000000006Z stdout F hello world",
            LogLine("2026-01-02T03:04:05.000000006Z", "stdout", False, b"hello world"),
        ),
        (
            b"2026-01-02T03:04:05Z stderr P part",
            LogLine("2026-01-02T03:04:05Z", "stderr", True, b"part"),
        ),
        (
            b"2026-01-02T03:04:05Z stdout P:tag part",
            LogLine("2026-01-02T03:04:05Z", "stdout", True, b"part"),
        ),
        (b"2026-01-02T03:04:05Z stdout F ", LogLine("2026-01-02T03:04:05Z", "stdout", False, b"")),
        (b'{"log":"hi\\n","stream":"stderr","time":"T"}', LogLine("T", "stderr", False, b"hi")),
        (b'{"log":"part","stream":"stdout","time":"T"}', LogLine("T", "stdout", True, b"part")),
        (b"{no json", LogLine("", "stdout", False, b"{no json")),
        (b"anything else", LogLine("", "stdout", False, b"anything else")),
    ],
)
def test_log_lines_of_either_format(line: bytes, read: LogLine) -> None:
    assert read_line(line) == read


async def collected(path: Path, states: list[bool] | None = None, tail: int | None = None) -> bytes:
    async def has_ended() -> bool:
        assert states is not None
        return states.pop(0)

    follow = None if states is None else has_ended
    return b"|".join([line.content async for line in read_log(str(path), _ID, follow, tail)])


async def test_parts_become_lines_and_the_last_ones_need_no_end(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(
        b"T stdout P one \nT stderr F aside\nT stdout F line\nT stdout F two\nT stdout P rest"
    )
    assert await collected(log) == b"aside|one line|two|rest"
    assert await collected(log, tail=1) == b"two|rest"


async def test_a_line_without_end_costs_a_bounded_memory(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes((b"T stdout P " + b"x" * 16384 + b"\n") * 40 + b"T stdout F end\n")
    lines = [line async for line in read_log(str(log), _ID, None)]
    assert [line.partial for line in lines] == [True, True, False]
    assert max(len(line.content) for line in lines) == LINE_BYTES
    assert sum(len(line.content) for line in lines) == 40 * 16384 + 3


async def test_a_rotated_log_is_followed_without_a_gap(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(b"T stdout F one\n")
    steps = [
        lambda: None,
        lambda: (tmp_path / "0.log.1").write_bytes(b""),
        lambda: None,
        lambda: None,
    ]

    async def has_ended() -> bool:
        if len(steps) == 3:
            os.rename(log, tmp_path / "0.log.old")
            with (tmp_path / "0.log.old").open("ab") as old:
                old.write(b"T stdout F late\n")
            log.write_bytes(b"T stdout F two\n")
        steps.pop()
        return not steps

    lines = [line.text async for line in read_log(str(log), _ID, has_ended)]
    assert lines == ["one", "late", "two"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.symlink_to("/etc/hostname"), "a symbolic link"),
        (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
        (os.mkfifo, "a FIFO"),
        (lambda path: path.mkdir(), "a directory"),
    ],
)
async def test_a_log_that_its_container_replaced_is_not_followed(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "pod" / "main" / "0.log"
    path.parent.mkdir(parents=True)
    make(path)
    with pytest.raises(FailedPrecondition, match=f"{path} cannot be read: {said}"):
        [line async for line in read_log(str(path), _ID, None)]


async def test_a_link_to_the_engines_own_file_is(tmp_path: Path) -> None:
    engines = tmp_path / "containers" / _ID / f"{_ID}-json.log"
    engines.parent.mkdir(parents=True)
    engines.write_bytes(b'{"log":"hi\\n","stream":"stdout","time":"T"}\n')
    path = tmp_path / "pod" / "main" / "0.log"
    path.parent.mkdir(parents=True)
    path.symlink_to(engines)
    assert [line.text async for line in read_log(str(path), _ID, None)] == ["hi"]


async def test_a_link_to_another_containers_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "containers" / ("b" * 64) / f"{'b' * 64}-json.log"
    other.parent.mkdir(parents=True)
    other.write_bytes(b'{"log":"secret\\n","stream":"stdout","time":"T"}\n')
    path = tmp_path / "pod" / "main" / "0.log"
    path.parent.mkdir(parents=True)
    path.symlink_to(other)
    with pytest.raises(FailedPrecondition, match="a symbolic link"):
        [line async for line in read_log(str(path), _ID, None)]


async def test_the_last_lines_cost_a_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asupervisor.client.logs.TAIL_BYTES", 1000)
    log = tmp_path / "0.log"
    log.write_bytes(b"".join(b"T stdout F %d%s\n" % (n, b"x" * 299) for n in range(9)))
    assert [line[:1] for line in (await collected(log, tail=5)).split(b"|")] == [b"6", b"7", b"8"]
