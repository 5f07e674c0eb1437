"""Start, rest and outage: exec to ready, idle cost, answers while dockerd is frozen, and how soon a
killed one is noticed and used again.

``python -m benchmarks.outage`` (as root, from the repository's root) runs an engine and a service
of its own, with 5 pods of 2 containers."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time
from pathlib import Path

import anyio
import anyio.to_thread
import grpc.aio

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine, busybox_archive, eventually
from tests.harness.namespace import leave_the_network
from tests.harness.pods import container_config, pod_config
from tests.harness.service import Service

_PODS = 5
_STARTS = 5
_LOOK_S = 0.01
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.outage",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--frozen", type=float, default=10.0, help="seconds that dockerd is frozen (10)"
    )
    parser.add_argument(
        "--idle", type=float, default=20.0, help="seconds of rest that are measured (20)"
    )
    options = parser.parse_args()
    leave_the_network()
    engine = Engine()
    engine.start()
    service = Service(engine)
    try:
        engine.load(busybox_archive())
        _starts(service)
        _rest(service, options.idle)
        anyio.run(_outages, engine, service, options.frozen)
    finally:
        if service.process is not None:
            service.stop()
        engine.destroy()


def _starts(service: Service) -> None:
    """Exec to the ready line, several times; the last one stays."""
    taken = []
    for _ in range(_STARTS):
        if service.process is not None:
            service.stop()
        seen, began = len(service.output), time.perf_counter()
        service.spawn()
        eventually(
            lambda seen=seen: "ready: serving" in service.output[seen:],  # type: ignore[misc]
            "the service is ready",
            every_s=0.005,
        )
        taken.append(time.perf_counter() - began)
    print(
        f"exec to ready: median {statistics.median(taken):.2f} s, {min(taken):.2f} to"
        f" {max(taken):.2f}"
    )
    print(f"load average {os.getloadavg()[0]:.1f}")


def _rest(service: Service, seconds: float) -> None:
    """CPU and memory of the service's own process with nothing to do."""
    before = _cpu_s(service.pid)
    time.sleep(seconds)  # the span that is measured
    share = (_cpu_s(service.pid) - before) / seconds
    status = Path(f"/proc/{service.pid}/status").read_text()
    resident = next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")
    )
    print(f"at rest: {share:.2%} of a core, {resident / 1024:.1f} MiB resident")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


async def _outages(engine: Engine, service: Service, frozen_s: float) -> None:
    async with (
        RemoteRuntimeService.connect(service.endpoint) as runtime,
        grpc.aio.insecure_channel(service.endpoint) as channel,
    ):
        for number in range(_PODS):
            pod = pod_config(f"outage{number}")
            sandbox_id = await runtime.run_pod_sandbox(pod)
            for name in ("first", "second"):
                await runtime.start_container(
                    await runtime.create_container(sandbox_id, container_config(name), pod)
                )
        calls = {
            name: channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")
            for name in ("ListContainers", "Status")
        }

        async def ready() -> bool:
            answer = cri.StatusResponse.FromString(await calls["Status"](b"", timeout=5))
            return next(
                condition.status
                for condition in answer.status.conditions
                if condition.type == "RuntimeReady"
            )

        async def until(wanted: bool) -> float:
            began = time.perf_counter()
            while await ready() is not wanted:  # noqa: ASYNC110 - another process changes it
                await anyio.sleep(_LOOK_S)
            return time.perf_counter() - began

        took: dict[str, list[float]] = {name: [] for name in calls}
        engine.signal(signal.SIGSTOP)
        began, noticed_s = time.perf_counter(), 0.0
        while time.perf_counter() - began < frozen_s:
            for name, call in calls.items():
                asked = time.perf_counter()
                await call(b"", timeout=5)
                took[name].append((time.perf_counter() - asked) * 1000)
            if not noticed_s and not await ready():
                noticed_s = time.perf_counter() - began
            await anyio.sleep(_LOOK_S)
        engine.signal(signal.SIGCONT)
        thawed_s = await until(True)
        for name, times in took.items():
            times.sort()
            p99 = times[len(times) * 99 // 100]
            print(
                f"frozen: {len(times)} × {name}: median {statistics.median(times):.2f} ms, p99"
                f" {p99:.2f}, at most {times[-1]:.2f}"
            )
        print(
            f"frozen: RuntimeReady false after {noticed_s:.2f} s, true again {thawed_s:.2f} s after"
            " it goes on"
        )
        engine.signal(signal.SIGKILL)
        print(f"killed: RuntimeReady false after {await until(False):.2f} s")
        await anyio.to_thread.run_sync(engine.start)
        print(f"restarted: RuntimeReady true {await until(True):.2f} s after dockerd answers")
        for sandbox in await runtime.list_pod_sandbox():
            await runtime.stop_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)


if __name__ == "__main__":
    main()
