from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import DeadlineExceeded, FailedPrecondition, Internal, ResourceExhausted
from asupervisor.host.program import OUTPUT_LIMIT_BYTES, Finished, run_program

SHELL = shutil.which("sh") or "/bin/sh"


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def shell(
    script: str,
    *,
    stdin: bytes = b"",
    deadline_s: float = 20.0,
    environment: dict[str, str] | None = None,
) -> Finished:
    async def main() -> Finished:
        return await run_program(
            [SHELL, "-c", script], stdin=stdin, environment=environment, deadline_s=deadline_s
        )

    return anyio.run(main)


def test_input_output_status_and_environment() -> None:
    finished = shell(
        'cat; echo "$GREETING" >&2; exit 3',
        stdin=b"x" * 300_000,
        environment={"GREETING": "hello", "PATH": os.environ["PATH"]},
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (
        3,
        b"x" * 300_000,
        b"hello\n",
    )


def test_a_signal_is_a_negative_status() -> None:
    assert shell("kill -SEGV $$").returncode == -11


def test_a_program_that_ignores_its_input_is_no_error() -> None:
    assert shell("exit 0", stdin=b"x" * 300_000).returncode == 0


def test_descendants_that_keep_the_pipes_open_are_not_waited_for() -> None:
    finished = shell("sleep 30 & echo done; echo $!")
    assert finished.stdout.startswith(b"done\n")
    os.kill(int(finished.stdout.split()[1]), 9)


def test_what_cannot_be_executed_is_told_with_the_reason(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")

    async def run(path: Path) -> None:
        await run_program([str(path)], deadline_s=5)

    with pytest.raises(FailedPrecondition, match="No such file"):
        anyio.run(run, tmp_path / "missing")
    with pytest.raises(FailedPrecondition, match="Permission denied"):
        anyio.run(run, text)
    text.chmod(0o755)
    with pytest.raises(FailedPrecondition, match="Exec format"):
        anyio.run(run, text)


def test_the_deadline_kills_the_whole_group(tmp_path: Path) -> None:
    child = tmp_path / "child"
    with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s and was killed; it said: stuck"):
        shell(f'sleep 611 & echo $! > "{child}"; echo stuck >&2; wait', deadline_s=0.3)
    assert ended(int(child.read_text()))


async def test_cancellation_kills_the_whole_group(tmp_path: Path) -> None:
    child = tmp_path / "child"

    async with anyio.create_task_group() as group:

        async def run() -> None:
            await run_program(
                [
                    SHELL,
                    "-c",
                    f'sleep 612 & echo $! > "{child}.new"; mv "{child}.new" "{child}"; wait',
                ],
                deadline_s=60,
            )

        group.start_soon(run)
        for _ in range(1000):
            if child.exists():
                break
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert ended(int(child.read_text()))


def test_too_much_output_kills_it() -> None:
    with pytest.raises(Internal, match=str(OUTPUT_LIMIT_BYTES)):
        shell("yes")


async def test_no_descriptors_left_is_not_the_programs_fault() -> None:
    with few_descriptors(), pytest.raises(ResourceExhausted, match="Too many open files"):
        await run_program([SHELL, "-c", "exit 0"], deadline_s=5)
    assert (await run_program([SHELL, "-c", "exit 0"], deadline_s=5)).returncode == 0


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Leave room for two more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ended(pid: int) -> bool:
    """Whether a process is gone or waits to be collected by somebody."""
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        os.sched_yield()
    return False
