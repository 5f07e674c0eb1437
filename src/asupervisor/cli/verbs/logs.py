"""``logs``: a container's log, read from its file on this node."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import anyio

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_container
from asupervisor.cli.logline import LogLine, read_line
from asupervisor.errors import ConfigError, FailedPrecondition
from asupervisor.proto import cri

_POLL_S = 0.1
_BLOCK_BYTES = 1 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which container's, and how much of it."""
    parser.add_argument("container", metavar="POD/CONTAINER")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until the container ends"
    )
    parser.add_argument("--tail", default="", metavar="LINES", help="only the last lines")
    parser.add_argument(
        "-t", "--timestamps", action="store_true", help="each line's time before it"
    )


async def run(client: Client) -> int:
    """What the container wrote to stdout goes to stdout, and the same for stderr."""
    options = client.options
    if options.tail and not options.tail.isdigit():
        raise ConfigError(f'--tail: "{options.tail}" is not a whole number of lines')
    container = await find_container(client.runtime, options.container)
    path = (await client.runtime.container_status(container.id)).status.log_path
    if not path:
        raise FailedPrecondition(f'"{options.container}" has no log file', subject=container.id)
    printer = _Printer(options.timestamps)
    with ExitStack() as files:
        reader = _Reader(files.enter_context(_opened(path)))
        lines: Iterator[LogLine] = reader.lines()
        if options.tail:
            lines = iter(deque(lines, maxlen=int(options.tail)))
        printer.print(lines)
        if options.follow:
            await _follow(client, container.id, path, reader, printer, files)
    return 0


async def _follow(
    client: Client,
    container_id: str,
    path: str,
    reader: _Reader,
    printer: _Printer,
    files: ExitStack,
) -> None:
    while True:
        # Asked before reading: what was written before it ended is then read for certain.
        status = (await client.runtime.container_status(container_id)).status
        printer.print(reader.lines())
        if (replacement := reader.replacement(path)) is not None:
            # The file was rotated away: its rest first, then the new one from its start.
            printer.print(reader.lines())
            files.close()
            reader = _Reader(files.enter_context(replacement))
            printer.print(reader.lines())
        if status.state == cri.CONTAINER_EXITED:
            return
        await anyio.sleep(_POLL_S)


class _Reader:
    """Whole lines of a file that grows."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._part = b""

    def lines(self) -> Iterator[LogLine]:
        while block := self.file.read(_BLOCK_BYTES):
            *whole, self._part = (self._part + block).split(b"\n")
            yield from map(read_line, whole)

    def replacement(self, path: str) -> BinaryIO | None:
        """The file that now stands at the path, where it is another one."""
        try:
            here = os.stat(path)
        except OSError:
            return None
        mine = os.fstat(self.file.fileno())
        return None if (here.st_dev, here.st_ino) == (mine.st_dev, mine.st_ino) else _opened(path)


class _Printer:
    def __init__(self, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._mid_line = False

    def print(self, lines: Iterator[LogLine]) -> None:
        for line in lines:
            out = sys.stderr.buffer if line.stream == "stderr" else sys.stdout.buffer
            time = f"{line.time} ".encode() if self._timestamps and not self._mid_line else b""
            out.write(time + line.content + (b"" if line.partial else b"\n"))
            self._mid_line = line.partial
        sys.stdout.flush()
        sys.stderr.flush()


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise FailedPrecondition(
            f"{path} cannot be read: {error.strerror}; logs are read on the node itself, as root"
        ) from error
