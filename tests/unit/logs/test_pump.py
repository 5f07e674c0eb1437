"""The pump's process, by its commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.harness.engine_log import EngineLog


def test_a_container_that_runs_again_before_its_log_is_finished(tmp_path: Path) -> None:
    source = EngineLog(tmp_path / "containers/c/c-json.log", 0, 1)
    target = tmp_path / "pods/c/0.log"
    source.write(b"first\n")
    follow = {
        "op": "follow",
        "container": "c",
        "source": str(source.path),
        "target": str(target),
        "tty": False,
        "running": True,
        "format": "cri",
        "endpoint": "",
    }
    # Read as one piece: the container was started again before anything was written.
    commands = [
        follow,
        {"op": "finish", "container": "c", "id": 1},
        follow,
        {"op": "reopen", "container": "c", "id": 2},
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "asupervisor.logs.pump", str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as pump:
        assert pump.stdin is not None and pump.stdout is not None
        answers: dict[int, str] = {}

        def until(number: int) -> None:
            while number not in answers:
                message = json.loads(pump.stdout.readline())  # type: ignore[union-attr]
                if "id" in message:
                    answers[message["id"]] = message.get("error", "")

        pump.stdin.write(b"".join(json.dumps(one).encode() + b"\n" for one in commands))
        pump.stdin.flush()
        until(2)
        assert answers == {1: "", 2: ""}
        source.write(b"second\n")
        pump.stdin.write(b'{"op": "finish", "container": "c", "id": 3}\n')
        pump.stdin.flush()
        until(3)
        pump.stdin.close()
    source.close()
    lines = [line.split(b" ", 3)[3] for line in target.read_bytes().splitlines()]
    assert lines == [b"first", b"second"]
