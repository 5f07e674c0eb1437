"""The CRI log file of one container: append, reopen, and what a file of an earlier process holds at
its end.

Containers that mount their log directory write there too, so its path is not trusted: the pod's
directory, the container's and the file are opened without links (:mod:`asupervisor.host.beneath`),
what is not a regular file is an error, and what a file held before we used it stays."""

from __future__ import annotations

import os
import re
import stat
from pathlib import PurePosixPath

from asupervisor.host.beneath import HeldDirectory, UnsafePath
from asupervisor.host.descriptor import HeldDescriptor

FILE_MODE = 0o640
_DIRECTORY_MODE = 0o755
_UNTRUSTED_COMPONENTS = 3
"""kubelet's layout is ``<pod logs>/<pod>/<container>/<file>``; above is the operator's path."""
_LINE = re.compile(rb"^(\S{20,35}) (stdout|stderr) [PF] [^\n]*\n", re.MULTILINE)
_TAIL_BYTES = 256 * 1024
_LOOKED_AT_BYTES = 4 << 20
"""Bytes of a file's end in which its last whole line is looked for. A line of ours has 16 KiB; a
container that mounts its log directory can make a file of any length, and the search delays other
logs.
"""
_COPIED_BYTES = 64 << 20
"""Most bytes of a replaced file that are copied. Of a longer one the engine's own log has the
rest.
"""
_MOST_NAMES = 4096
"""Names in a log directory that are looked at: kubelet keeps five files of a log; a container that
mounts the directory can make a million.
"""


def hold_log_directory(path: str, *, make: bool = False) -> tuple[HeldDirectory, str]:
    """The directory of a log file, held, and the file's name in it.

    Args:
        path: of the log file, absolute. Links are followed in what stands above its last three
            components.
        make: make the directories that are missing.

    Raises:
        OSError: a directory is missing or is not one.
    """
    mode = _DIRECTORY_MODE if make else None
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "//")]
    if not parts:
        raise UnsafePath(path, "not a path of a file")
    name = parts.pop()
    cut = max(0, len(parts) + 1 - _UNTRUSTED_COMPONENTS)
    held = HeldDirectory.at("/" + "/".join(parts[:cut]), make=mode)
    if not parts[cut:]:
        return held, name
    with held:
        return held.below("/".join(parts[cut:]), make=mode), name


class Target:
    """One CRI log file, open for appending.

    Args:
        path: made, with its directory, when missing.

    Attributes:
        created: whether it was made here.
        kept: its first bytes that :meth:`truncate` leaves: what it held before, until
            :meth:`own` says that this is ours.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.created = False
        try:
            directory, name = hold_log_directory(path)
        except FileNotFoundError:
            directory, name = hold_log_directory(path, make=True)
        with directory:
            try:
                self._fd = directory.open(name, os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                self._fd = directory.make(name, FILE_MODE)
                self.created = True
        status = os.fstat(self._fd)
        if status.st_nlink > 1:
            # One of its other names may be a file of the host.
            os.close(self._fd)
            raise UnsafePath(path, f"a file with {status.st_nlink} names, not one of its own")
        self.inode, self.kept = status.st_ino, status.st_size

    def own(self) -> None:
        """All that it holds was written for this container: it may be cut anywhere."""
        self.kept = 0

    def size(self) -> int:
        """Bytes in it now."""
        return os.fstat(self._fd).st_size

    def read(self, size: int, offset: int) -> bytes:
        """What it holds there, as far as it goes."""
        return os.pread(self._fd, size, offset)

    def truncate(self, size: int) -> None:
        """Cut it to ``size`` bytes, or to what it held before it was ours."""
        os.ftruncate(self._fd, max(size, self.kept))

    def append(self, data: bytes) -> None:
        """Write all of ``data`` at the end; on a line of its own after what another writer left.

        Raises:
            OSError: not all of it was written, with the file's name; the size shows how much.
        """
        if self.kept and self.kept == self.size() and self.read(1, self.kept - 1) != b"\n":
            data = b"\n" + data
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                view = memoryview(data)
                while written < len(data):
                    written += os.write(self._fd, view[written:])
        except OSError as error:
            error.filename = self.path
            raise

    def take_over(self, former: Target) -> bool:
        """Append all that another file holds; False where that is too long to be copied."""
        size = former.size()
        if size > _COPIED_BYTES:
            return False
        self.append(former.read(size, 0))
        return True

    def unlinked(self) -> bool:
        """Whether this file has no name any more."""
        return not os.fstat(self._fd).st_nlink

    def replaced(self) -> bool:
        """Whether this file has no name any more and the path names another one."""
        if not self.unlinked():
            return False
        try:
            directory, name = hold_log_directory(self.path)
        except OSError:
            return False
        with directory:
            return directory.status(name) is not None

    def whole_lines(self) -> int:
        """The offset after its last whole CRI line; what follows is the rest of a kill or a crash.
        The file's end, if so much follows that it cannot be that.
        """
        end = size = self.size()
        while end > max(0, size - _LOOKED_AT_BYTES):
            start = max(0, end - _TAIL_BYTES)
            block = self.read(end - start, start)
            first = block.find(b"\n") + 1
            if (first or not start) and (lines := list(_LINE.finditer(block, first * bool(start)))):
                return start + lines[-1].end()
            end = start + _TAIL_BYTES // 2 if start and end - start > _TAIL_BYTES // 2 else start
        return size if end else 0

    def last_lines(self) -> tuple[bytes, int]:
        """The time of its last whole line, and the offset where the lines of that very time begin;
        ``(b"", 0)`` for none.
        """
        end = self.whole_lines()
        start = max(0, end - _TAIL_BYTES)
        lines = list(_LINE.finditer(self.read(end - start, start)))
        if not lines:
            return b"", 0
        time = lines[-1].group(1)
        first = len(lines) - 1
        while first and lines[first - 1].group(1) == time:
            first -= 1
        return time, start + lines[first].start()

    def end_lines(self) -> None:
        """The container writes no more: end the line of each stream that is still open, which is
        one whose last part has the tag ``P``. Repeatable.

        Raises:
            OSError: it cannot be written.
        """
        end = self.whole_lines()
        start = max(0, end - _TAIL_BYTES, self.kept)
        last = {line.group(2): line for line in _LINE.finditer(self.read(end - start, start))}
        for stream, line in last.items():
            head = b"%s %s " % (line.group(1), stream)
            if line.group().startswith(b"P ", len(head)):
                self.append(head + b"F \n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def find_renamed(path: str, inode: int) -> str | None:
    """The name beside ``path`` that kubelet's rotation gave the file of that inode; None where it
    is gone or compressed.
    """
    found = [name for name, status in _beside(path) if status.st_ino == inode]
    return found[0] if found else None


def newest_renamed(path: str) -> str | None:
    """The file beside ``path`` that was rotated last and is not compressed, or None."""
    prefix = f"{path}."
    rotated = [
        (status.st_mtime_ns, name)
        for name, status in _beside(path)
        if name.startswith(prefix) and not name.endswith((".gz", ".tmp"))
    ]
    return max(rotated)[1] if rotated else None


def read_end(path: str, size: int) -> bytes:
    """The last bytes of a log file, at most ``size``.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    directory, name = hold_log_directory(path)
    with directory, HeldDescriptor(directory.open(name, os.O_RDONLY)) as file:
        end = os.fstat(file.descriptor).st_size
        return os.pread(file.descriptor, size, max(0, end - size))


def _beside(path: str) -> list[tuple[str, os.stat_result]]:
    """The regular files in its directory whose names begin with its own."""
    try:
        directory, name = hold_log_directory(path)
    except FileNotFoundError:
        return []
    with directory:
        names = [other for other in directory.names(_MOST_NAMES) if other.startswith(name)]
        found = [(other, directory.status(other)) for other in names]
        parent = path.rpartition("/")[0]
        return [
            (f"{parent}/{other}", status)
            for other, status in found
            if status is not None and stat.S_ISREG(status.st_mode)
        ]
