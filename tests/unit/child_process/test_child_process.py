"""Children are started without running anything of ours in them, are spoken to, and end with a
code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from asupervisor.host.child_process import ChildProcess
from tests.harness.loops import on_both_loops

NOTES_ITS_FORKS = """
import sys
from os import register_at_fork
from pathlib import Path
import anyio
from asupervisor.host.child_process import ChildProcess
from asupervisor.logs.service import LogService

directory = Path(sys.argv[1])
register_at_fork(after_in_child=(directory / "forked").touch)

async def main():
    child = ChildProcess(["echo", "ran"], stdout=True)
    assert await child.stdout.receive() == b"ran\\n"
    assert await child.wait() == 0
    await child.aclose()
    logs = LogService(directory)
    async with anyio.create_task_group() as tasks:
        await tasks.start(logs.run)
        assert logs.pid
        tasks.cancel_scope.cancel()
    print("started both")

anyio.run(main, backend_options={"use_uvloop": True})
"""
"""What would run there can wait for ever: a collection finalises gRPC's objects, whose locks
threads held that a child does not have.
"""


def test_nothing_of_ours_runs_in_the_child_under_uvloop(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", NOTES_ITS_FORKS, str(tmp_path)], capture_output=True, text=True
    )
    assert finished.stdout == "started both\n", finished.stderr
    assert not (tmp_path / "forked").exists()


@on_both_loops
async def test_more_than_a_pipe_holds_goes_in_and_comes_out() -> None:
    text = os.urandom(1 << 20)
    child = ChildProcess(["cat"], stdin=True, stdout=True)
    assert child.stdin is not None and child.stdout is not None and child.stderr is None
    stdin, received = child.stdin, bytearray()

    async def give() -> None:
        await stdin.send(text)
        await stdin.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give)
        async for data in child.stdout:
            received += data
    assert await child.wait() == 0
    await child.aclose()
    assert received == text


@on_both_loops
async def test_its_end_is_told_to_everybody_who_waits() -> None:
    child = ChildProcess(["sleep", "1000"])
    assert child.returncode is None
    codes = []

    async def wait() -> None:
        codes.append(await child.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        child.kill()
    assert codes == [-signal.SIGKILL] * 2
    assert child.returncode == -signal.SIGKILL
    child.terminate()


@on_both_loops
async def test_an_end_is_noticed_where_there_is_no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError("no pidfd")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    child = ChildProcess(["sh", "-c", "exit 7"])
    assert await child.wait() == 7


@on_both_loops
async def test_writing_to_a_child_that_does_not_read() -> None:
    child = ChildProcess(["true"], stdin=True)
    assert child.stdin is not None
    await child.wait()
    with pytest.raises(anyio.BrokenResourceError):
        await child.stdin.send(b"too late")
    await child.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await child.stdin.send(b"closed")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        ChildProcess(["/nonexistent/program"])
