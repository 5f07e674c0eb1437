"""What kubelet does to a container's log, and a check of all that it leaves: every number once and
in order.
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from asupervisor.errors import ServiceError

_NUMBER = re.compile(rb"\S{20,35} stdout F (\d+) [^\n]*\n")


class LogRotation:
    """Rotates one log at a size limit, as kubelet's container log manager does.

    Files are checked and deleted as soon as nothing can change them any more.

    Args:
        log: the container's CRI log file.
        max_bytes: from this size on it is rotated.
        reopen: ReopenContainerLog for that container.
    """

    def __init__(self, log: Path, max_bytes: int, reopen: Callable[[], Awaitable[None]]) -> None:
        self.log = log
        self.max_bytes = max_bytes
        self.reopen = reopen
        self.rotations = 0
        self.failures = 0
        self.next_number = 0
        self._names = itertools.count()

    async def tick(self) -> None:
        """One round of the monitor."""
        if not self.log.exists():
            await self._reopened()
            return
        if self.log.stat().st_size < self.max_bytes:
            return
        rotated = self._rotated()
        for file in rotated[:-1]:
            self._check(file)
        if rotated and rotated[-1].suffix != ".gz":
            file = rotated[-1]
            # kubelet compresses what it rotated the last time; nobody writes to that any more.
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes(), 1))
            file.unlink()
        name = self.log.with_name(f"{self.log.name}.{next(self._names):08d}")
        self.log.rename(name)
        if await self._reopened():
            self.rotations += 1
        else:
            name.rename(self.log)

    async def _reopened(self) -> bool:
        try:
            await self.reopen()
        except ServiceError:
            self.failures += 1
            return False
        return True

    def check_rest(self) -> None:
        """Check what is left, when the container has ended and its log is complete."""
        for file in [*self._rotated(), self.log]:
            self._check(file)

    def _rotated(self) -> list[Path]:
        return sorted(self.log.parent.glob(f"{self.log.name}.*"))

    def _check(self, file: Path) -> None:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
        position = 0
        for match in _NUMBER.finditer(data):
            assert match.start() == position, (
                f"{file}: not a whole line at {position}: {data[position : position + 200]!r}"
            )
            assert int(match.group(1)) == self.next_number, (
                f"{file}: {match.group(1)!r} where {self.next_number} belongs"
            )
            self.next_number += 1
            position = match.end()
        assert position == len(data), (
            f"{file}: not a whole line at {position}: {data[position : position + 200]!r}"
        )
        file.unlink()
