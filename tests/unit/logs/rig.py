"""A container's log at both ends: the engine's file, the target, and a follower between them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from asupervisor.logs.follower import FileFollower
from tests.harness.engine_log import EngineLog

BOOT = b"1" * 16


NEXT_BOOT = b"2" * 16


LIMIT = 4096


class Rig:
    """A source, a target, and a follower that can be dropped and made again."""

    def __init__(
        self, root: Path, max_size: int = 0, max_file: int = 1, *, compress: bool = False
    ) -> None:
        self.source = EngineLog(
            root / "containers/c/c-json.log", max_size, max_file, compress=compress
        )
        self.target = root / "pods/c/0.log"
        self.position = root / "c.position"
        self.warnings: list[str] = []
        self.follower: FileFollower | None = None
        self.written = 0

    def start(self, boot: bytes = BOOT) -> FileFollower:
        self.stop()
        self.follower = FileFollower(
            str(self.source.path), str(self.target), str(self.position), boot, self.warnings.append
        )
        return self.follower

    def stop(self) -> None:
        """As a kill leaves it: nothing more is written."""
        if self.follower is not None:
            self.follower.close()
            self.follower = None

    def write(self, count: int, stream: str = "stdout") -> None:
        for _ in range(count):
            self.source.write(b"line %d\n" % self.written, stream)
            self.written += 1

    def drain(self) -> None:
        follower = self.follower or self.start()
        while follower.turn(LIMIT) or not follower.drained:
            pass

    def rotate_target(self, number: int) -> Path:
        """As kubelet does: rename, then ReopenContainerLog."""
        renamed = self.target.with_name(f"{self.target.name}.{number}")
        self.target.rename(renamed)
        assert self.follower is not None
        self.follower.reopen()
        return renamed

    def numbers(self) -> list[int]:
        """The numbers in all of the target's files, the oldest file first."""
        files = [*sorted(self.target.parent.glob(f"{self.target.name}.*")), self.target]
        text = b"".join(file.read_bytes() for file in files)
        assert re.fullmatch(rb"(?:\S{20,35} (?:stdout|stderr) F line \d+\n)*", text)
        return [int(number) for number in re.findall(rb"line (\d+)\n", text)]


Rigs = Callable[..., Rig]


def all_of(rig: Rig) -> list[int]:
    return list(range(rig.written))
