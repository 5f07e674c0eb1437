"""Pods that come and go, and what the service keeps of them: memory, descriptors, threads, tasks,
inodes, addresses.

``python -m benchmarks.churn --pods 10000`` (as root, from the repository's root) runs an engine and
a service of its own, with the CNI plugins ``bridge`` and ``host-local``. Each pod has a container
with a log, and goes through the whole of its life. Ten times in all, or as often as ``--readings``
says, the figures are read with nothing running; the first counts for warming up."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import anyio
import anyio.to_thread

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from benchmarks import own
from benchmarks.process import family
from tests.harness.engine import Engine, busybox_archive
from tests.harness.namespace import leave_the_network
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service

_TIMEOUT_S = 120.0
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Figures:
    """What is held with no pod there.

    Args:
        pods: that came and went before.
        service_mib: resident memory of the service's own process.
        pump_mib: of the processes below it.
        descriptors: open files of all of them.
        threads: of all of them.
        tasks: of the service's event loop.
        inodes: files and directories of the service and of CNI: root directory, results, logs.
        addresses: that the IPAM plugin holds.
        namespaces: network namespaces that a mount holds.
        containers: of the engine.
    """

    pods: int
    service_mib: float
    pump_mib: float
    descriptors: int
    threads: int
    tasks: int
    inodes: int
    addresses: int
    namespaces: int
    containers: int

    @classmethod
    def read(cls, pods: int, service: Service, engine: Engine) -> Figures:
        """Look at everything now."""
        own, *below = family(service.pid)
        return cls(
            pods,
            _resident(own),
            sum(map(_resident, below)),
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (own, *below)),
            sum(len(os.listdir(f"/proc/{pid}/task")) for pid in (own, *below)),
            _tasks(service),
            sum(1 + len(files) for _, _, files in os.walk(service.directory)),
            len(list((service.directory / "ipam" / "benchmark").glob("10.*"))),
            Path("/proc/self/mountinfo").read_text().count(" - nsfs "),
            len(engine.containers()),
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.churn",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--pods", type=int, default=1000, help="pods in all (1000)")
    parser.add_argument("--at-a-time", type=int, default=8, help="pods at a time (8)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=3600.0,
        help="start no further pods after so many seconds (3600)",
    )
    parser.add_argument("--readings", type=int, default=10, help="readings of the figures (10)")
    options = parser.parse_args()
    leave_the_network()
    engine = Engine(arguments=("--bridge=none", "--iptables=false"))
    engine.start()
    service = Service(engine)
    try:
        engine.load(busybox_archive())
        own.use_cni(service)
        service.flags += ("--metrics-bind-addr=127.0.0.1:0",)
        service.start()
        anyio.run(_churn, engine, service, options)
    finally:
        if service.process is not None:
            service.stop()
        engine.destroy()
        shutil.rmtree(service.directory)


async def _churn(engine: Engine, service: Service, options: argparse.Namespace) -> None:
    began = time.monotonic()
    end = began + options.seconds
    done = 0
    print(
        "   pods  pods/s  service MiB  pump MiB  descriptors  threads  tasks  inodes  addresses"
        "  namespaces  containers"
    )
    async with RemoteRuntimeService.connect(service.endpoint, _TIMEOUT_S) as runtime:
        for reading in range(options.readings):
            numbers = iter(range(done, options.pods * (reading + 1) // options.readings))

            async def live(numbers: Iterator[int] = numbers) -> None:
                nonlocal done
                for number in numbers:
                    if time.monotonic() > end:
                        return
                    await _life(runtime, service, number)
                    done += 1

            async with anyio.create_task_group() as tasks:
                for _ in range(options.at_a_time):
                    tasks.start_soon(live)
            assert await runtime.list_pod_sandbox() == []
            # What a second's tick takes away is gone by then; not a wait for a condition.
            await anyio.sleep(3)
            now = await anyio.to_thread.run_sync(Figures.read, done, service, engine)
            rate = done / (time.monotonic() - began)
            print(
                f"{now.pods:7} {rate:7.2f} {now.service_mib:12.1f} {now.pump_mib:9.1f}"
                f" {now.descriptors:12} {now.threads:8} {now.tasks:6} {now.inodes:7}"
                f" {now.addresses:10} {now.namespaces:11} {now.containers:11}",
                flush=True,
            )
            if time.monotonic() > end:
                return


async def _life(runtime: RemoteRuntimeService, service: Service, number: int) -> None:
    logs = service.directory / "pods" / str(number)
    pod = pod_config(f"churn{number}", log_directory=logs)
    sandbox = await runtime.run_pod_sandbox(pod)
    container = await runtime.create_container(
        sandbox, container_config(command=("echo", "hello"), log_path="main/0.log"), pod
    )
    await runtime.start_container(container)

    async def ended() -> bool:
        status = (await runtime.container_status(container)).status
        return status.state == cri.CONTAINER_EXITED

    await until(ended, "the container has ended", _TIMEOUT_S)
    assert (logs / "main" / "0.log").read_text().endswith(" stdout F hello\n")
    await runtime.stop_pod_sandbox(sandbox)
    await runtime.remove_pod_sandbox(sandbox)
    shutil.rmtree(logs)  # as kubelet does


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / _MIB if found else 0.0


def _tasks(service: Service) -> int:
    with urlopen(f"{service.pages_url}/metrics") as answer:
        text = answer.read().decode()
    return int(float(re.search(r"^asupervisor_tasks (\S+)", text, re.MULTILINE)[1]))  # type: ignore[index]


if __name__ == "__main__":
    main()
