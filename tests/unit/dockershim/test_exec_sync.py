"""What ExecSync says of a command that did not end in time, or whose end nobody tells."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.dockershim.container import exec_sync as module
from asupervisor.dockershim.container.exec_sync import exec_sync
from asupervisor.errors import DeadlineExceeded, FailedPrecondition
from asupervisor.proto import cri
from tests.harness.fake_engine import Answer, FakeEngine
from tests.harness.ground import CONTAINER, Ground

ENDED = (200, {"Running": False, "ExitCode": 137, "Pid": 0, "ContainerID": CONTAINER})
UNKNOWN = (404, {"message": "No such exec instance"})
ILL = (500, {"message": "not well"})


def silent_from_then_on(over: threading.Event) -> Answer:
    def chunks() -> Any:
        yield b"\x01\0\0\0\0\0\0\x02a\n"
        over.wait(20)

    return 200, chunks()


@pytest.mark.parametrize(
    ("answer", "killed"),
    [(ENDED, True), (ILL, False), (UNKNOWN, False)],
    ids=["it ended", "an error", "the engine does not know it any more"],
)
async def test_only_what_is_known_to_be_killed_is_said_to_be(
    tmp_path: Path, answer: Answer, killed: bool
) -> None:
    over = threading.Event()
    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        ground._start(CONTAINER)
        fake.answers[f"POST /containers/{CONTAINER}/exec"] = lambda: (201, {"Id": "e"})
        fake.answers["POST /exec/e/start"] = lambda: silent_from_then_on(over)
        fake.answers["GET /exec/e/json"] = lambda: answer
        async with ground.up():
            request = cri.ExecSyncRequest(container_id=CONTAINER, cmd=["true"], timeout=1)
            with pytest.raises(DeadlineExceeded) as late:
                await exec_sync(ground.shim, request)
            over.set()
        assert ("was killed" in late.value.message) is killed, late.value.message


@pytest.mark.parametrize("timeout_s", [0, 60])
async def test_a_command_whose_container_ended_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout_s: int
) -> None:
    monkeypatch.setattr(module, "_LAST_OUTPUT_S", 0.2)
    over = threading.Event()

    def silent() -> Any:
        over.wait(20)
        yield b""

    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        ground._start(CONTAINER)
        fake.answers[f"POST /containers/{CONTAINER}/exec"] = lambda: (201, {"Id": "e"})
        fake.answers["POST /exec/e/start"] = lambda: (200, silent())
        fake.answers["GET /exec/e/json"] = lambda: ENDED
        async with ground.up() as callers:
            callers.start_soon(_end_once_it_runs, ground)
            request = cri.ExecSyncRequest(container_id=CONTAINER, cmd=["true"], timeout=timeout_s)
            with anyio.fail_after(10), pytest.raises(FailedPrecondition, match="ended while"):
                await exec_sync(ground.shim, request)
            over.set()


async def _end_once_it_runs(ground: Ground) -> None:
    await ground.until_asked("POST /exec/e/start")
    ground._stop(CONTAINER)
