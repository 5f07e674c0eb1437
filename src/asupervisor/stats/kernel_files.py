"""Kernel files that are read again and again.

Reading a cgroup file anew costs about 10 µs, of which 8 are its opening; so a file stays open and
is read with ``pread``. Such a descriptor does not keep the cgroup: the directory can be removed,
and the next read fails with ENODEV. (That does not hold for ``/proc/<pid>/net``: an open file there
keeps the whole network namespace alive.)"""

from __future__ import annotations

import errno
import os
import resource

_SIZE = 16384
"""Bytes of one reading; memory.stat of cgroup v2 has about 2 KiB, the block devices' files grow
with the devices.
"""


class Gone(Exception):
    """The cgroup or the process that a file described is gone."""


class Budget:
    """How many descriptors may stay open: a quarter of what the process may have.

    Args:
        limit: the number; taken from RLIMIT_NOFILE when None.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self.used = 0

    def take(self) -> bool:
        """Whether one more may stay open; counts it if so."""
        if self._limit is None:
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self._limit = 1 << 20 if soft == resource.RLIM_INFINITY else soft // 4
        if self.used >= self._limit:
            return False
        self.used += 1
        return True

    def give_back(self) -> None:
        """One was closed."""
        self.used -= 1


class KernelFile:
    """One file, opened at its first read and kept open while the budget allows.

    Args:
        directory: where it is; empty means that there is none. All files of a cgroup share this
            string, since a node has ten thousand files.
        name: of the file in it.
        budget: shared by all files of a service.
    """

    __slots__ = ("_absent", "_budget", "_directory", "_fd", "_name", "last")

    def __init__(self, directory: str, name: str, budget: Budget) -> None:
        self._directory = directory
        self._name = name
        self.last = b""
        """What the last reading gave."""
        self._budget = budget
        self._fd = -1
        self._absent = not directory

    def read(self) -> bytes:
        """The whole content; empty where the kernel has no such file, or does not measure what the
        file reports.

        Raises:
            Gone: the file was there and its cgroup was removed since.
        """
        if self._fd >= 0:
            try:
                content = os.pread(self._fd, _SIZE, 0)
            except OSError:
                content = b""
            if 0 < len(content) < _SIZE:
                self.last = content
                return content
        self.last = b""
        self.last = self._read()
        return self.last

    def _read(self) -> bytes:
        if self._absent:
            return b""
        fd = self._fd
        if fd < 0:
            try:
                fd = os.open(f"{self._directory}/{self._name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                self._absent = True
                if error.errno == errno.ENOENT and not os.path.isdir(self._directory):
                    raise Gone(self._directory) from error
                return b""
        try:
            content = chunk = os.pread(fd, _SIZE, 0)
            while len(chunk) == _SIZE:
                chunk = os.pread(fd, _SIZE, len(content))
                content += chunk
        except OSError as error:
            self._absent = True
            if fd == self._fd:
                self.close()
            else:
                os.close(fd)
            if error.errno == errno.ENODEV:
                raise Gone(self._directory) from error
            return b""
        if fd != self._fd:
            if self._budget.take():
                self._fd = fd
            else:
                os.close(fd)
        return content

    def close(self) -> None:
        """Close it; a later read opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._budget.give_back()


def content_of(path: str, directory: int | None = None, most: int = 1 << 30) -> bytes:
    """A file of any length, which the kernel may give in parts; not kept open.

    Args:
        path: the file.
        directory: a descriptor that a relative path starts from.
        most: bytes after which it is not read on.

    Raises:
        OSError: there is none, or its process is gone.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        content = b""
        while len(content) < most and (chunk := os.read(fd, 65536)):
            content += chunk
        return content
    finally:
        os.close(fd)


def number(content: bytes) -> int:
    """The number that a file consists of; 0 for an empty file, -1 for ``max``."""
    content = content.strip()
    if content == b"max":
        return -1
    return int(content) if content else 0


def table(content: bytes) -> dict[bytes, int]:
    """A file of ``name value`` lines."""
    words = content.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=False))


def figures(content: bytes, keys: tuple[bytes, ...]) -> list[int]:
    """Some numbers of a file of ``name value`` lines, -1 for a name that is not there; a third of
    the cost of :func:`table`.

    Args:
        content: with a line break before its first line too.
        keys: each a line break, the name, and a space.
    """
    values = []
    for key in keys:
        start = content.find(key)
        if start < 0:
            values.append(-1)
            continue
        start += len(key)
        values.append(int(content[start : content.find(b"\n", start)]))
    return values
