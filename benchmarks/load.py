"""The load generator: a process of its own that does one job after another, each asked for in one
line of JSON on stdin.

It answers ``ready`` when the connection is warm, waits for a line, runs, says ``done``, and then
tells the result as JSON. The parent reads the server's CPU time between those lines."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from time import process_time

from benchmarks.http2 import Broken, Connection


@dataclass(frozen=True)
class Job:
    """One measurement.

    Args:
        path: of the server's socket.
        method: ``/package.Service/Method``.
        request: the encoded request in hexadecimal digits.
        callers: calls under way at any time.
        warm_s: seconds of calls before the measurement.
        seconds: of the measurement.
    """

    path: str
    method: str
    request: str
    callers: int
    warm_s: float
    seconds: float


@dataclass(frozen=True)
class Load:
    """What one job gave.

    Args:
        latencies_us: of each call that succeeded.
        failed: calls that did not end with the status OK.
        elapsed_s: from the first request to the last answer.
        cpu_s: CPU time of the generator itself.
        bytes: of answers.
    """

    latencies_us: list[int]
    failed: int
    elapsed_s: float
    cpu_s: float
    bytes: int


class Generator:
    """The parent's end of one load generator process. A context manager: leaving it ends the
    process.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def prepare(self, job: Job) -> None:
        """Connect and warm up; returns when that is done."""
        self._say(json.dumps(asdict(job)))
        self._hear("ready")

    def start(self) -> None:
        """Let the job run."""
        self._say("go")

    def wait(self) -> None:
        """Return when the job is over."""
        self._hear("done")

    def result(self) -> Load:
        """The job's result."""
        return Load(**json.loads(self._line()))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Broken(f"the load generator ended with {self._process.wait()}")
        return line.rstrip("\n")

    def _hear(self, word: str) -> None:
        line = self._line()
        if line != word:
            raise Broken(line)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _run(job: Job) -> None:
    connection = Connection(job.path, job.method, bytes.fromhex(job.request))
    try:
        connection.run(job.callers, job.warm_s)
        _say("ready")
        sys.stdin.readline()
        before = process_time()
        outcome = connection.run(job.callers, job.seconds)
        cpu_s = process_time() - before
    finally:
        connection.close()
    _say("done")
    latencies_us = [round(latency * 1e6) for latency in outcome.latencies_s]
    _say(
        json.dumps(
            asdict(Load(latencies_us, outcome.failed, outcome.elapsed_s, cpu_s, outcome.bytes))
        )
    )


def main() -> None:
    """Do jobs until stdin ends."""
    gc.disable()
    for line in sys.stdin:
        try:
            _run(Job(**json.loads(line)))
        except (Broken, OSError) as error:
            _say(f"{type(error).__name__}: {error}")
        gc.collect()


if __name__ == "__main__":
    main()
