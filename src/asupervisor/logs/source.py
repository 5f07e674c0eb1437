"""The engine's json-file of one container as one sequence of lines, across the engine's own
rotation.

The engine renames ``json.log`` to ``json.log.1`` (and that to ``.2``, up to ``max-file``, gzipped
where ``compress`` is on), or unlinks it where ``max-file`` is 1, and opens a new one. Each file of
that chain is a generation. A generation is opened as soon as it is seen, and an open file keeps its
data when the engine drops it: a pump that is behind loses nothing of a file that it has opened."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tempfile
from collections import deque

from asupervisor.logs.position import TAIL_BYTES, Position

_MAX_LINE_BYTES = 16 << 20
_LINE_TIME = re.compile(rb'"time":"([^"]{20,35})"\}\n')
_SCAN_BYTES = 1 << 20
_MAX_OPEN = 64
_MAX_PENDING_BYTES = 64 << 20
"""Generations, and unread bytes in them, that are kept open while this process is behind. The
engine may have deleted them, and they still take space on the disk.
"""


class Generation:
    """One file of the chain, open, with the offset up to which it is consumed.

    Args:
        fd: open for reading; owned from here on.
        compressed: whether the engine's file is a gzip of what ``fd`` gives.
    """

    def __init__(self, fd: int, *, compressed: bool = False) -> None:
        status = os.fstat(fd)
        self.fd = fd
        self.compressed = compressed
        self.identity = (status.st_dev, status.st_ino)
        self.offset = 0

    @property
    def inode(self) -> int:
        """Its inode number, as a position keeps it."""
        return self.identity[1]

    def size(self) -> int:
        """Bytes in it now."""
        return os.fstat(self.fd).st_size

    def read(self, limit: int) -> bytes:
        """Whole lines from the offset on, at most about ``limit`` bytes; empty when there is none
        yet. Moves nothing.
        """
        while True:
            chunk = os.pread(self.fd, limit, self.offset)
            end = chunk.rfind(b"\n") + 1
            if end or len(chunk) < limit:
                return chunk if end == len(chunk) else chunk[:end]
            if limit >= _MAX_LINE_BYTES:
                # Zeros of a file that was truncated under its writer, or no log at all: pass over
                # it, but not over a line.
                return chunk
            limit *= 4

    def rest(self) -> bytes:
        """What follows the last newline of a finished file; empty when it ends properly."""
        return os.pread(self.fd, _MAX_LINE_BYTES, self.offset)

    def tail(self) -> bytes:
        """The last bytes before the offset, as a position keeps them."""
        start = max(0, self.offset - TAIL_BYTES)
        return os.pread(self.fd, self.offset - start, start)

    def holds(self, position: Position) -> bool:
        """Whether the position was taken in this file's content, whatever its name is now."""
        tail = position.tail
        return (
            bool(tail) and os.pread(self.fd, len(tail), position.source_offset - len(tail)) == tail
        )

    def find(self, needle: bytes) -> int:
        """Offset of the first occurrence of ``needle``, or -1."""
        position, kept = 0, b""
        while chunk := os.pread(self.fd, _SCAN_BYTES, position):
            window = kept + chunk
            found = window.find(needle)
            if found >= 0:
                return position - len(kept) + found
            position += len(chunk)
            kept = window[-(len(needle) - 1) :]
        return -1

    def line_start(self, offset: int) -> int:
        """Offset of the beginning of the line that ``offset`` lies in."""
        end = offset
        while end > 0:
            start = max(0, end - _SCAN_BYTES)
            newline = os.pread(self.fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def first_after(self, time: bytes) -> int:
        """Offset of the first line whose time is later than ``time`` (as :func:`time_key` gives
        it); the end where none is.
        """
        position, kept = 0, b""
        while chunk := os.pread(self.fd, _SCAN_BYTES, position):
            window = kept + chunk
            base = position - len(kept)
            start = 0
            for match in _LINE_TIME.finditer(window):
                if time_key(match.group(1)) > time:
                    return base + start
                start = match.end()
            position += len(chunk)
            kept = window[start:]
        return position

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def time_key(time: bytes) -> bytes:
    """An engine time (UTC, without trailing zeros of the fraction) in a form that sorts."""
    whole, _, fraction = time.rstrip(b"Z").partition(b".")
    return whole + b"." + fraction.ljust(9, b"0")


def last_time(tail: bytes) -> bytes:
    """The time of the last line in ``tail``, as :func:`time_key`; empty where there is none."""
    times = _LINE_TIME.findall(tail)
    return time_key(times[-1]) if times else b""


def _open(path: str) -> Generation | None:
    try:
        return Generation(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        return None


def _open_compressed(path: str) -> Generation | None:
    try:
        with gzip.open(path, "rb") as packed, tempfile.TemporaryFile() as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
            plain.flush()
            return Generation(os.dup(plain.fileno()), compressed=True)
    except FileNotFoundError:
        return None
    except (OSError, EOFError):
        # The engine is still writing it. The uncompressed file stays until that is done, and was
        # tried before.
        return None


def generations_after(path: str, known: Generation | None) -> tuple[list[Generation], bool]:
    """Open every generation that is newer than ``known`` (all of them where it is None or gone),
    the oldest first.

    Returns:
        The generations, and whether ``known`` was seen next to them, so that none can be missing
        between.
    """
    found: list[Generation] = []
    seen = set()
    index = missing = 0
    while missing < 2:
        name = path if index == 0 else f"{path}.{index}"
        generation = _open(name) or (_open_compressed(name + ".gz") if index else None)
        index += 1
        if generation is None:
            # While a rotation is under way, one number may be missing.
            missing += 1
            continue
        missing = 0
        if known is not None and (
            generation.identity == known.identity
            or (generation.compressed and _same_content(generation, known))
        ):
            generation.close()
            found.reverse()
            return found, True
        if generation.identity in seen:
            generation.close()
            continue
        seen.add(generation.identity)
        found.append(generation)
    found.reverse()
    return found, False


def _same_content(one: Generation, other: Generation) -> bool:
    size = other.size()
    start = max(0, size - TAIL_BYTES)
    return one.size() == size and os.pread(one.fd, TAIL_BYTES, start) == os.pread(
        other.fd, TAIL_BYTES, start
    )


class Source:
    """The chain of generations of one container, from a position on.

    Args:
        path: the engine's file, such as ``/var/lib/docker/containers/<id>/<id>-json.log``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.chain: deque[Generation] = deque()
        """Open generations, the oldest first, the first one at the offset to go on from."""
        self._waited = False

    @property
    def current(self) -> Generation | None:
        """The generation that is being read; None before the engine has made the file."""
        return self.chain[0] if self.chain else None

    def rotated(self) -> bool:
        """Whether the engine's file is not the newest generation that is open here: one stat."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return False
        return not self.chain or (status.st_dev, status.st_ino) != self.chain[-1].identity

    def discover(self) -> bool:
        """Open what the engine has begun since, unless too many are open already.

        Returns:
            Whether all of it is there; False where the engine has dropped files meanwhile that were
            not opened for that reason.
        """
        if not self.rotated():
            return True
        if len(self.chain) >= _MAX_OPEN or self.pending() >= _MAX_PENDING_BYTES:
            self._waited = True
            return True
        newer, adjacent = generations_after(self.path, self.chain[-1] if self.chain else None)
        self.chain.extend(newer)
        waited, self._waited = self._waited, False
        return adjacent or not waited

    def next(self) -> None:
        """Leave the current generation for the next one; only when there is one."""
        self.chain.popleft().close()

    def pending(self) -> int:
        """Bytes that the engine has written and that are not consumed."""
        return sum(max(0, generation.size() - generation.offset) for generation in self.chain)

    def close(self) -> None:
        """Close every file."""
        while self.chain:
            self.chain.popleft().close()
