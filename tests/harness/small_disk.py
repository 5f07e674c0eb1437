"""A file system with little room, and none at all on demand."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """A mounted file system.

    Args:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave not a byte."""
        with open(self._filler, "ab", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(bytes(4096)):
                pass

    def free(self, kib: int = 0) -> None:
        """Give back what :meth:`fill` took.

        Args:
            kib: the size from now on; 0 leaves it.
        """
        self._filler.unlink()
        if kib:
            options = f"remount,size={kib}k"
            subprocess.run(["mount", "-o", options, str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, kib: int = 2048) -> Iterator[SmallDisk]:
    """Mount one.

    Args:
        path: the mount point, made here.
        kib: its size.
    """
    path.mkdir(parents=True)
    options = f"size={kib}k,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(path)], check=True)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
