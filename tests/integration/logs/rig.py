"""A log service with its pump process, in a loop of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from asupervisor.logs.service import LogService, LogSource
from tests.harness.engine_log import EngineLog
from tests.harness.service import Service


@asynccontextmanager
async def running(directory: Path, **options: str) -> AsyncIterator[LogService]:
    """A log service that is ready, with its state below ``directory``."""
    service = LogService(directory / "state", **options)  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        await tasks.start(service.run)
        yield service
        tasks.cancel_scope.cancel()


def source_of(directory: Path, name: str = "c") -> EngineLog:
    """An engine's log in the layout of its data root."""
    return EngineLog(directory / "containers" / name / f"{name}-json.log")


def followed(directory: Path, log: EngineLog, name: str = "c", *, alive: bool = True) -> LogSource:
    """That log with its target."""
    return LogSource(name, str(target_of(directory, name)), str(log.path), tty=False, running=alive)


def target_of(directory: Path, name: str = "c") -> Path:
    """Where its CRI log file belongs."""
    return directory / "pods" / name / "0.log"


def lines_of(path: Path) -> list[bytes]:
    """The contents of a CRI log file's lines; none for a file that is not there. One that is being
    written is not counted before its end is there.
    """
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [line.split(b" ", 3)[3] for line in whole.splitlines()]


def pump_of(service: Service) -> int:
    """The process id of the service's log pump; 0 while there is none."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    for child in children:
        try:
            if b"asupervisor.logs.pump" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        except FileNotFoundError:
            continue
    return 0


def breaks(numbers: list[int]) -> list[tuple[int, int]]:
    """Where numbers that count up from 0 do not: each pair that does not follow."""
    return [(a, b) for a, b in itertools.pairwise([-1, *numbers]) if b != a + 1]
