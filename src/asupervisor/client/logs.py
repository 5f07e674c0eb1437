"""The log of a container, read from its file on this node: in CRI's format or in Docker's json-file
format, since a log path may lead to either.

A file is read to its end before the one that replaced it. So that memory is bounded, a line longer
than :data:`LINE_BYTES` is given in parts, and the last lines have at most :data:`TAIL_BYTES`."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import anyio

from asupervisor.errors import FailedPrecondition
from asupervisor.host.beneath import HeldDirectory, UnsafePath
from asupervisor.logs.target import hold_log_directory

LINE_BYTES = 256 * 1024
"""A longer line is given in parts."""
_ROW_BYTES = 4 * LINE_BYTES
"""Longest row of a file; a longer one is cut there."""
TAIL_BYTES = 64 << 20
"""Most bytes of the last lines that are asked for; beyond them the first ones are left out."""
_POLL_S = 0.1
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line, or a part of one.

    Args:
        time: RFC 3339 with nanoseconds, as the file has it.
        stream: ``stdout`` or ``stderr``.
        partial: whether the line goes on in the next value of this stream.
        content: without a newline.
    """

    time: str
    stream: str
    partial: bool
    content: bytes

    @property
    def text(self) -> str:
        """The content as text; what is not UTF-8 is replaced."""
        return self.content.decode(errors="replace")


async def read_log(
    path: str,
    container_id: str,
    has_ended: Callable[[], Awaitable[bool]] | None,
    tail: int | None = None,
) -> AsyncGenerator[LogLine, None]:
    """Whole lines of a log.

    Args:
        path: of the file; a file that replaces it, as at a rotation, is read next.
        container_id: of the container.
        has_ended: whether nothing more will be written; the log is followed until then. None: only
            what is there now is read.
        tail: only so many of the lines that are there now.

    Raises:
        FailedPrecondition: the file cannot be read.
    """
    lines = Lines()
    file = _opened(path, container_id)
    try:
        # Asked before reading, so that all that was written before the end is read.
        ended = has_ended is None or await has_ended()
        found: Iterator[LogLine] = lines.read(file)
        for line in found if tail is None else _last(found, tail):
            yield line
        while not ended:
            await anyio.sleep(_POLL_S)
            ended = has_ended is None or await has_ended()
            for line in lines.read(file):
                yield line
            if (other := _replacement(file, path, container_id)) is not None:
                for line in lines.read(file):  # what came before it was replaced
                    yield line
                file.close()
                file = other
                for line in lines.read(file):
                    yield line
        for line in lines.rest():
            yield line
    finally:
        file.close()


class Lines:
    """Joins the rows of growing files to whole lines."""

    def __init__(self) -> None:
        self._row = b""
        self._parts: dict[str, LogLine] = {}

    def read(self, file: BinaryIO) -> Iterator[LogLine]:
        """The lines that are complete by now."""
        while block := file.read(_BLOCK_BYTES):
            *rows, self._row = (self._row + block).split(b"\n")
            if len(self._row) > _ROW_BYTES:
                rows.append(self._row)
                self._row = b""
            for row in rows:
                yield from self._join(read_line(row))

    def rest(self) -> Iterator[LogLine]:
        """Lines that were never completed."""
        if self._row:
            yield from self._join(read_line(self._row))
        yield from self._parts.values()
        self._row, self._parts = b"", {}

    def _join(self, line: LogLine) -> Iterator[LogLine]:
        if (before := self._parts.pop(line.stream, None)) is not None:
            line = replace(line, time=before.time, content=before.content + line.content)
        if line.partial and len(line.content) < LINE_BYTES:
            self._parts[line.stream] = line
        else:
            yield line


def read_line(line: bytes) -> LogLine:
    """Read one line of a file, without its newline; a row in neither format is given unchanged."""
    if line.startswith(b"{"):
        return _docker_line(line)
    parts = line.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return LogLine("", "stdout", False, line)
    # The tags are separated by colons; P or F is the first of them.
    return LogLine(
        parts[0].decode(errors="replace"),
        parts[1].decode(),
        parts[2].split(b":")[0] == b"P",
        parts[3],
    )


def _docker_line(line: bytes) -> LogLine:
    import orjson

    try:
        document = orjson.loads(line)
        content = str(document["log"])
        # One line of output ends with its newline; a piece of a longer one has none.
        partial = not content.endswith("\n")
        return LogLine(
            str(document["time"]),
            str(document["stream"]),
            partial,
            content.removesuffix("\n").encode(),
        )
    except (ValueError, KeyError, TypeError):
        return LogLine("", "stdout", False, line)


def _last(lines: Iterator[LogLine], count: int) -> deque[LogLine]:
    kept, size = deque[LogLine](), 0
    for line in lines:
        kept.append(line)
        size += len(line.content)
        while len(kept) > count or size > TAIL_BYTES:
            size -= len(kept.popleft().content)
    return kept


def _replacement(file: BinaryIO, path: str, container_id: str) -> BinaryIO | None:
    """The file that is at the path now, if it is another one."""
    try:
        here = os.stat(path)
    except OSError:
        return None
    mine = os.fstat(file.fileno())
    return (
        None
        if (here.st_dev, here.st_ino) == (mine.st_dev, mine.st_ino)
        else _opened(path, container_id)
    )


def _opened(path: str, container_id: str) -> BinaryIO:
    """Open a log file. A container that mounts its log directory can replace the file by a link, so
    a link is followed only to the engine's own log file of this container.
    """
    try:
        directory, name = hold_log_directory(path)
        with directory:
            status = directory.status(name)
            if status is None or not stat.S_ISLNK(status.st_mode):
                return os.fdopen(directory.open(name, os.O_RDONLY), "rb")
            target = directory.link_target(name)
            engines = f"/{container_id}/{container_id}-json.log"
            if not (target.startswith("/") and target.endswith(engines)):
                raise UnsafePath(path, "a symbolic link")
        parent, _, name = target.rpartition("/")
        with HeldDirectory.at(parent) as held:
            return os.fdopen(held.open(name, os.O_RDONLY), "rb")
    except OSError as error:
        raise FailedPrecondition(
            f"{path} cannot be read: {error.strerror}; logs are read on the node itself, as root",
            subject=path,
        ) from error
