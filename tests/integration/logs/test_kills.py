"""The pump alone, killed at random moments, its recovery included, while the engine writes and
rotates and kubelet rotates.

``ASUPERVISOR_PUMP_KILLS`` sets how often.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from asupervisor.logs.lines import LineEncoder
from tests.harness.engine_log import EngineLog, engine_line, engine_time

_KILLS = int(os.environ.get("ASUPERVISOR_PUMP_KILLS", "12"))


class Writer(threading.Thread):
    """Writes lines of every kind as fast as it may, until told to stop, and remembers them."""

    def __init__(self, log: EngineLog) -> None:
        super().__init__()
        self.log = log
        self.stopped = threading.Event()
        self.lines: list[bytes] = []

    def run(self) -> None:
        chance = random.Random(3)
        while not self.stopped.is_set():
            for _ in range(50):
                number = len(self.lines)
                kind = chance.random()
                content = b"%d " % number + chance.choice(
                    (b"plain", b'{"a":"b"}', "grün".encode(), b"x" * 300)
                )
                if kind > 0.999:
                    content = b"\xff" * 16384
                stream = "stderr" if kind < 0.2 else "stdout"
                line = engine_line(
                    content + (b"" if 0.2 < kind < 0.25 else b"\n"),
                    engine_time(number * 1009),
                    stream,
                )
                self._write(line)
            self.stopped.wait(0.002)
        # The pump ends a line that the container left open, which the encoder alone does not.
        self._write(engine_line(b"end\n", engine_time(len(self.lines) * 1009)))

    def _write(self, line: bytes) -> None:
        self.lines.append(line)
        self.log.write_raw(line)


def pump(root: Path) -> subprocess.Popen[bytes]:
    """A pump that was told to follow the log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "asupervisor.logs.pump", str(root / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    send(
        process,
        op="follow",
        container="c",
        source=str(root / "c/json.log"),
        target=str(root / "pods/0.log"),
        tty=False,
        running=True,
        format="cri",
        endpoint="",
    )
    return process


def send(process: subprocess.Popen[bytes], **command: object) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(command).encode() + b"\n")
    process.stdin.flush()


def answered(process: subprocess.Popen[bytes], number: int) -> bool:
    """Read its messages up to an answer; False where it ended before."""
    assert process.stdout is not None
    return any(json.loads(line).get("id") == number for line in process.stdout)


def close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.wait()
    process.stdout.close()


def test_not_a_byte_is_lost_or_doubled(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "c/json.log", 400_000, 400)
    target = tmp_path / "pods/0.log"
    chance = random.Random(4)
    writer = Writer(log)
    writer.start()
    rotations = 0
    try:
        for _ in range(_KILLS):
            process = pump(tmp_path)
            assert process.stdout is not None
            # It holds the lock from here on, and finds out where the one before it was killed.
            assert json.loads(process.stdout.readline()) == {"event": "ready"}
            killer = threading.Timer(
                chance.choice((0.0, 0.004, 0.05, 0.2)) * chance.random(), process.kill
            )
            killer.start()
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0.0, 0.05))  # draws the moment of the rotation
                if target.exists():
                    # kubelet, which takes its rename back when it gets no answer.
                    renamed = target.with_name(f"0.log.{rotations:05d}")
                    target.rename(renamed)
                    with suppress(BrokenPipeError):
                        send(process, op="reopen", id=1, container="c")
                    if answered(process, 1):
                        rotations += 1
                    else:
                        renamed.rename(target)
            killer.join()
            close(process)
        process = pump(tmp_path)
        target.rename(target.with_name(f"0.log.{rotations:05d}"))
        send(process, op="reopen", id=1, container="c")
        assert answered(process, 1)
    finally:
        writer.stopped.set()
        writer.join()
    send(process, op="finish", id=2, container="c")
    assert answered(process, 2)
    close(process)
    log.close()
    written = b"".join(
        file.read_bytes() for file in [*sorted(target.parent.glob("0.log.*")), target]
    )
    expected = LineEncoder().encode(b"".join(writer.lines))
    print(
        f"\n{_KILLS} kills, {rotations} rotations, {len(writer.lines)} lines, {len(expected)} bytes"
    )
    assert len(written) == len(expected)
    assert written == expected
