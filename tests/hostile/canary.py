"""What must not change."""

from __future__ import annotations

import os
from pathlib import Path

_SONG = b"still singing\n"


class Canary:
    """A directory of the host, readable and writable by root alone.

    Args:
        directory: an empty one.

    Attributes:
        file: exists, with a known content.
        absent: a name in the same directory that does not exist.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "canary"
        self.absent = directory / "absent" / "canary"
        self.file.write_bytes(_SONG)
        self.file.chmod(0o600)
        self._before = self._state()

    def _state(self) -> tuple[bytes, int, int, int, list[str]]:
        status = self.file.lstat()
        return (
            self.file.read_bytes(),
            status.st_ino,
            status.st_mode,
            status.st_mtime_ns,
            sorted(os.listdir(self.directory)),
        )

    def check(self) -> None:
        """Fail when anything in the directory was written, emptied, replaced, made or removed."""
        assert self._state() == self._before, "the canary was touched"
