"""What the log pump moves, and what a flood of one container's log does to another's log and to CRI
calls.

``python -m benchmarks.log_pump`` measures the pump's process alone, on json-file logs made
beforehand. With ``--engine`` (as root, where there is a ``dockerd``) it measures the whole service
too: lag of a quiet container's lines and the latency of ListContainers, with and without containers
that write as fast as the engine takes it."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import grpc.aio

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from benchmarks.process import cpu_s, family
from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive
from tests.harness.engine_log import engine_line, engine_time
from tests.harness.namespace import leave_the_network
from tests.harness.service import Service

_KINDS = ("plain", "both streams", "json")


class PumpProcess:
    """A pump of its own, spoken to line by line."""

    def __init__(self, state: Path) -> None:
        command = [sys.executable, "-m", "asupervisor.logs.pump", str(state)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._numbers = 0
        self.read()

    def read(self) -> dict[str, Any]:
        """Its next message."""
        assert self.process.stdout is not None
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def tell(self, **command: Any) -> None:
        """A command without an answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def follow(self, name: str, source: Path, target: Path) -> None:
        """Have a log written."""
        self.tell(
            op="follow",
            container=name,
            source=str(source),
            target=str(target),
            tty=False,
            running=True,
            format="cri",
            endpoint="",
        )

    def finish(self, name: str) -> None:
        """Wait until all of it is written."""
        self._numbers += 1
        self.tell(op="finish", id=self._numbers, container=name)
        while self.read().get("id") != self._numbers:
            pass

    def end(self) -> None:
        """Close its input and wait."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def sample(kind: str, length: int, size: int) -> tuple[bytes, int]:
    """About ``size`` bytes of a json-file with lines of ``length`` bytes, and the bytes of output
    that they hold.
    """
    chance = random.Random(1)
    lines: list[bytes] = []
    total = held = 0
    while total < size:
        number = len(lines)
        content = b"x" * (length - 1)
        if kind == "json":
            fields = {
                "level": "info",
                "ts": 1_700_000_000 + number,
                "msg": "request served",
                "path": f"/api/v1/items/{number}",
            }
            text = json.dumps(fields)
            content = (
                text[:-1] + ', "body": "' + "y" * max(0, length - len(text) - 13) + '"}'
            ).encode()
        stream = chance.choice(("stdout", "stderr")) if kind == "both streams" else "stdout"
        lines.append(engine_line(content + b"\n", engine_time(number * 1009), stream))
        total += len(lines[-1])
        held += len(content) + 1
    return b"".join(lines), held


def move(source: Path, target: Path, directory: Path) -> tuple[float, float]:
    """Have a pump write a whole log; its CPU seconds and those of the clock."""
    state = Path(tempfile.mkdtemp(dir=directory))
    pump = PumpProcess(state)
    before, began = cpu_s([pump.process.pid]), time.perf_counter()
    pump.follow("c", source, target)
    pump.finish("c")
    figures = cpu_s([pump.process.pid]) - before, time.perf_counter() - began
    pump.end()
    target.unlink()
    return figures


def throughput(directory: Path, total_bytes: int, repeat: int) -> None:
    """Print what the pump moves of each kind of line, the best of some tries: others use this
    machine too.
    """
    for kind in _KINDS:
        for length in (64, 100, 128, 256, 1024, 16_000):
            if kind == "json" and length < 128:
                continue
            data, held = sample(kind, length, 1 << 20)
            times = max(1, total_bytes // len(data))
            source, target = directory / "c" / "c-json.log", directory / "0.log"
            source.parent.mkdir(exist_ok=True)
            with source.open("wb") as file:
                for _ in range(times):
                    file.write(data)
            figures = [move(source, target, directory) for _ in range(repeat)]
            cpu, wall = min(cpu for cpu, _ in figures), min(wall for _, wall in figures)
            written = held * times / (1 << 20)
            lines = data.count(b"\n") * times
            print(
                f"{kind}, lines of {length} bytes: {written / cpu:.0f} MiB of output for each"
                f" second of CPU ({lines / cpu / 1e6:.2f} million lines), {written / wall:.0f}"
                " MiB/s by the clock",
                flush=True,
            )
            source.unlink()


def fairness(directory: Path, floods: int, seconds: float) -> None:
    """Print how late a quiet container's lines come while others have more to write than the pump
    can.
    """
    pump = PumpProcess(directory / "state-fairness")
    data, _ = sample("plain", 100, 1 << 20)
    (directory / "quiet").mkdir()
    quiet, target = directory / "quiet" / "json.log", directory / "quiet.log"
    with quiet.open("ab", buffering=0) as file:
        pump.follow("quiet", quiet, target)
        for number in range(floods):
            flood = directory / f"flood{number}"
            flood.mkdir()
            with (flood / "json.log").open("wb") as log:
                for _ in range(int(150 * seconds * 3 / max(1, floods))):
                    log.write(data)
            pump.follow(flood.name, flood / "json.log", directory / f"{flood.name}.log")
        lags: list[float] = []
        end = time.monotonic() + seconds
        size = 0
        while time.monotonic() < end:
            began = time.perf_counter()
            file.write(engine_line(b"tick\n", engine_time(len(lags))))
            while True:
                with suppress(FileNotFoundError):
                    if target.stat().st_size > size:
                        break
                time.sleep(0.0002)
            size = target.stat().st_size
            lags.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)
    lags.sort()
    print(
        f"{floods} floods: a quiet container's line is in its log after"
        f" {statistics.median(lags):.1f} ms at the median, {lags[int(len(lags) * 0.99)]:.1f} ms at"
        f" the 99th percentile, {lags[-1]:.1f} ms at most ({len(lags)} lines)",
        flush=True,
    )
    pump.process.kill()
    pump.end()


def size_of_logs(directory: Path) -> int:
    """Bytes in the CRI log files."""
    return sum(path.stat().st_size for path in directory.glob("*.log"))


async def calls(service: Service, directory: Path, floods: int, seconds: float) -> None:
    """Print the latency of ListContainers and the bytes that are moved while containers flood their
    logs.
    """
    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(
                name=f"flood{floods}", namespace="benchmark", uid=f"uid{floods}"
            ),
            log_directory=str(directory),
        )
        sandbox_id = await runtime.run_pod_sandbox(config)
        for number in range(floods):
            container = cri.ContainerConfig(
                metadata=cri.ContainerMetadata(name=f"flood{number}"),
                image=cri.ImageSpec(image=BUSYBOX_IMAGE),
                command=["yes", "x" * 99],
                log_path=f"{number}.log",
            )
            await runtime.start_container(
                await runtime.create_container(sandbox_id, container, config)
            )
        await anyio.sleep(2)
        written = size_of_logs(directory)
        processes = [pid for pid in family(service.pid) if pid != service.pid]
        before, pump_before, times = cpu_s([service.pid]), cpu_s(processes), list[float]()
        async with grpc.aio.insecure_channel(service.endpoint) as channel:
            call = channel.unary_unary("/runtime.v1.RuntimeService/ListContainers")
            began = time.perf_counter()
            while time.perf_counter() - began < seconds:
                start = time.perf_counter()
                await call(b"")
                times.append((time.perf_counter() - start) * 1000)
                await anyio.sleep(0.01)
            took = time.perf_counter() - began
        grown = size_of_logs(directory) - written
        own, pumps = (
            (cpu_s([service.pid]) - before) / took * 100,
            (cpu_s(processes) - pump_before) / took * 100,
        )
        times.sort()
        print(
            f"{floods} containers that flood: {grown / took / (1 << 20):.0f} MiB/s of log;"
            f" ListContainers {statistics.median(times):.2f} ms at the median,"
            f" {times[int(len(times) * 0.99)]:.2f} ms at the 99th percentile; CPU of the service"
            f" {own:.0f} %, of the pump {pumps:.0f} % of a core",
            flush=True,
        )
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


def main() -> None:
    """Set up, measure, clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--mebibytes", type=int, default=300, help="of json-file for each figure of the throughput"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        help="tries for each figure of the throughput; the best one counts",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure of the latency")
    parser.add_argument("--engine", action="store_true", help="measure the whole service too")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="asv-log-", dir="/var/tmp"))
    try:
        throughput(directory, arguments.mebibytes << 20, arguments.repeat)
        for floods in (0, 1, 4, 16):
            (directory / str(floods)).mkdir()
            fairness(directory / str(floods), floods, arguments.seconds)
            shutil.rmtree(directory / str(floods))
        if arguments.engine:
            with_engine(directory, arguments.seconds)
    finally:
        shutil.rmtree(directory)


def with_engine(directory: Path, seconds: float) -> None:
    """Measure the whole service."""
    leave_the_network()
    engine = Engine()
    engine.start()
    try:
        engine.load(busybox_archive())
        # Under the docker format nothing is pumped: what is left is what the containers and the
        # engine take from the machine.
        for log_format in ("docker", "cri"):
            print(f"--container-log-format {log_format}:")
            service = Service(engine, flags=("--container-log-format", log_format))
            service.start()
            try:
                for floods in (0, 1, 2):
                    anyio.run(calls, service, directory / f"calls{floods}", floods, seconds)
                    shutil.rmtree(directory / f"calls{floods}", ignore_errors=True)
            finally:
                service.stop()
    finally:
        engine.destroy()


if __name__ == "__main__":
    main()
