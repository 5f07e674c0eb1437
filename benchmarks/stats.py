"""What ListContainerStats costs with 50 running containers: time of one call, calls per second, and
the service's CPU.

Run as root on a machine with ``dockerd``: ``python -m benchmarks.stats``. It starts an engine and a
service of its own in a network namespace of their own, and removes both."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import anyio
import grpc.aio

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from benchmarks.process import own_cpu_s
from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive
from tests.harness.namespace import leave_the_network
from tests.harness.service import Service


def cpu_s(pid: int) -> float:
    """CPU seconds that a process' living threads have used, to the nanosecond
    (/proc/<pid>/task/<tid>/schedstat).
    """
    return (
        sum(
            int(path.read_text().split()[0])
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
        )
        / 1e9
    )


async def fill(endpoint: str, pods: int, containers: int) -> None:
    """Run that many pods with that many containers in all."""
    async with RemoteRuntimeService.connect(endpoint) as runtime:
        limit = anyio.CapacityLimiter(4)

        async def pod(number: int) -> None:
            async with limit:
                config = cri.PodSandboxConfig(
                    metadata=cri.PodSandboxMetadata(
                        name=f"p{number}", namespace="benchmark", uid=f"u{number}"
                    ),
                    labels={"app": f"app-{number}", "tier": "benchmark"},
                    linux=cri.LinuxPodSandboxConfig(
                        cgroup_parent=f"/asupervisor-benchmark/podu{number}"
                    ),
                )
                sandbox_id = await runtime.run_pod_sandbox(config)
                for index in range(number, containers, pods):
                    container = cri.ContainerConfig(
                        metadata=cri.ContainerMetadata(name=f"c{index}"),
                        image=cri.ImageSpec(image=BUSYBOX_IMAGE),
                        command=["sleep", "100000"],
                        labels={"app": f"app-{number}"},
                        annotations={
                            "io.kubernetes.container.hash": "f00",
                            "io.kubernetes.container.restartCount": "0",
                        },
                    )
                    await runtime.start_container(
                        await runtime.create_container(sandbox_id, container, config)
                    )

        async with anyio.create_task_group() as tasks:
            for number in range(pods):
                tasks.start_soon(pod, number)


async def measure(endpoint: str, pid: int, seconds: float, watch_s: float) -> None:
    """Print the figures of each method."""
    async with grpc.aio.insecure_channel(
        endpoint, options=[("grpc.max_receive_message_length", 16 << 20)]
    ) as channel:
        for name in ("ListContainerStats", "ListPodSandboxStats", "ListPodSandboxMetrics"):
            call = channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")
            size = len(await call(b""))
            times: list[float] = []
            before = cpu_s(pid)
            for _ in range(30):
                await anyio.sleep(0.2)  # longer than a reading is answered again
                start = time.perf_counter()
                await call(b"")
                times.append(time.perf_counter() - start)
            each = (cpu_s(pid) - before) / len(times) * 1000
            done, end, before = 0, time.perf_counter() + seconds, cpu_s(pid)

            async def caller(
                call: grpc.aio.UnaryUnaryMultiCallable = call, end: float = end
            ) -> None:
                nonlocal done
                while time.perf_counter() < end:
                    await call(b"")
                    done += 1

            async with anyio.create_task_group() as tasks:
                for _ in range(16):
                    tasks.start_soon(caller)
            used = cpu_s(pid) - before
            median, worst = statistics.median(times) * 1000, max(times) * 1000
            print(
                f"{name}: {size} bytes; one call, fresh reading: median {median:.2f} ms, worst"
                f" {worst:.2f} ms, {each:.2f} ms of CPU; 16 callers: {done / seconds:.0f} calls/s"
                f" at {used / seconds * 100:.0f} % of a core",
                flush=True,
            )
        for name in ("", "ListContainerStats", "ListPodSandboxMetrics"):
            await disturb(channel, name, seconds)
        before = own_cpu_s(pid)
        await anyio.sleep(watch_s)
        idle = own_cpu_s(pid) - before
        call, before = (
            channel.unary_unary("/runtime.v1.RuntimeService/ListContainerStats"),
            own_cpu_s(pid),
        )
        end = time.monotonic() + watch_s
        while time.monotonic() < end:
            await call(b"")
            await anyio.sleep(10.0)
        watched = time.monotonic() - end + watch_s
        called = (own_cpu_s(pid) - before) * watch_s / watched
        print(
            f"CPU of the service in {watch_s:.0f} s: {idle / watch_s * 100:.2f} % of a core idle, "
            f"{called / watch_s * 100:.2f} % with ListContainerStats every 10 s"
        )


async def disturb(channel: grpc.aio.Channel, name: str, seconds: float) -> None:
    """Print how long ListContainers takes while another method is called five times a second, each
    time with a fresh reading.
    """
    call, times = channel.unary_unary("/runtime.v1.RuntimeService/ListContainers"), list[float]()
    end = time.perf_counter() + seconds

    async def other() -> None:
        while time.perf_counter() < end:
            await channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")(b"")
            await anyio.sleep(0.2)

    async with anyio.create_task_group() as tasks:
        if name:
            tasks.start_soon(other)
        while time.perf_counter() < end:
            start = time.perf_counter()
            await call(b"")
            times.append((time.perf_counter() - start) * 1000)
            await anyio.sleep(0.002)
    times.sort()
    print(
        f"ListContainers beside {name or 'nothing'}: median {statistics.median(times):.2f} ms, 99th"
        f" percentile {times[int(len(times) * 0.99)]:.2f} ms, worst {times[-1]:.2f} ms",
        flush=True,
    )


def main() -> None:
    """Set up, measure, clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=25)
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0, help="of load for each method")
    parser.add_argument(
        "--watch", type=float, default=60.0, help="seconds over which the CPU is watched, twice"
    )
    arguments = parser.parse_args()
    leave_the_network()
    engine = Engine()
    engine.start()
    service = Service(engine)
    try:
        engine.load(busybox_archive())
        service.start()
        anyio.run(fill, service.endpoint, arguments.pods, arguments.containers)
        anyio.run(measure, service.endpoint, service.pid, arguments.seconds, arguments.watch)
        print(
            Path("/proc", str(service.pid), "status")
            .read_text()
            .partition("VmRSS:")[2]
            .split("\n")[0]
            .strip(),
            "resident",
        )
    finally:
        if service.process is not None:
            service.stop()
        engine.destroy()


if __name__ == "__main__":
    main()
