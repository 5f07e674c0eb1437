"""The CRI log file of one container: append, reopen, and what a file of an earlier process holds at
its end.
"""

from __future__ import annotations

import os
import re

FILE_MODE = 0o640
_LINE = re.compile(rb"(\S{20,35}) (stdout|stderr) [PF] [^\n]*\n")
_TAIL_BYTES = 256 * 1024


class Target:
    """One CRI log file, open for appending.

    Args:
        path: made, with its directory, when missing. A symbolic link is refused.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self.created = False
        try:
            self._fd = os.open(path, flags)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            self._fd = os.open(path, flags | os.O_CREAT, FILE_MODE)
            self.created = True
        self.inode = os.fstat(self._fd).st_ino

    def size(self) -> int:
        """Bytes in it now."""
        return os.fstat(self._fd).st_size

    def read(self, size: int, offset: int) -> bytes:
        """What it holds there, as far as it goes."""
        return os.pread(self._fd, size, offset)

    def truncate(self, size: int) -> None:
        """Cut it to ``size`` bytes."""
        os.ftruncate(self._fd, size)

    def append(self, data: bytes) -> None:
        """Write all of ``data`` at the end.

        Raises:
            OSError: not all of it was written; how much, the size tells.
        """
        written = os.write(self._fd, data)
        if written < len(data):
            view = memoryview(data)
            while written < len(data):
                written += os.write(self._fd, view[written:])

    def replaced(self) -> bool:
        """Whether this file has no name any more and the path names another one."""
        return os.fstat(self._fd).st_nlink == 0 and os.path.lexists(self.path)

    def whole_lines(self) -> int:
        """The offset after its last whole CRI line; what follows was torn by a kill or a crash."""
        size = self.size()
        end = size
        while end > 0:
            start = max(0, end - _TAIL_BYTES)
            block = self.read(end - start, start)
            cut = block.rfind(b"\n") + 1
            while cut:
                line_start = block.rfind(b"\n", 0, cut - 1) + 1
                if (line_start or start == 0) and _LINE.fullmatch(block, line_start, cut):
                    return start + cut
                cut = line_start
            end = start + _TAIL_BYTES // 2 if start and end - start > _TAIL_BYTES // 2 else start
        return 0

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

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def find_renamed(path: str, inode: int) -> str | None:
    """The name beside ``path`` that kubelet's rotation gave the file of that inode; None where it
    is gone or compressed.
    """
    directory, name = os.path.split(path)
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if (
                    entry.inode() == inode
                    and entry.name.startswith(name)
                    and entry.is_file(follow_symlinks=False)
                ):
                    return entry.path
    except FileNotFoundError:
        pass
    return None


def newest_renamed(path: str) -> str | None:
    """The file beside ``path`` that was rotated last and is not compressed; None where there is
    none.
    """
    directory, name = os.path.split(path)
    newest: tuple[int, str] | None = None
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if (
                    entry.name.startswith(name + ".")
                    and not entry.name.endswith((".gz", ".tmp"))
                    and entry.is_file(follow_symlinks=False)
                ):
                    candidate = (entry.stat().st_mtime_ns, entry.path)
                    newest = max(newest, candidate) if newest else candidate
    except FileNotFoundError:
        pass
    return newest[1] if newest else None
