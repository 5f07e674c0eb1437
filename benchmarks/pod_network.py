"""What a pod network costs besides its plugins: ``python -m benchmarks.pod_network`` (as root, with
the containernetworking plugins).

Sets pods up and takes them down in namespaces of its own, one after the other, under uvloop. For
each plugin it prints the time from call to return, that time without the time during which programs
(CNI plugins, iptables) ran, which is our own, and the CPU time of this process, which other load on
the machine does not change."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

import asupervisor.network.cni.execute
import asupervisor.network.hostports.iptables
from asupervisor.host.program import Finished, run_program
from asupervisor.network.plugin import PortMapping
from tests.integration.network import test_cni, test_kubenet
from tests.integration.network.namespaces import Namespace, pod


class _Clock:
    """Adds up the time during which some program ran; programs that run beside each other count
    once.
    """

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._running = 0
        self._since = 0.0

    async def run_program(self, *arguments: Any, **settings: Any) -> Finished:
        if not self._running:
            self._since = time.perf_counter()
        self._running += 1
        try:
            return await run_program(*arguments, **settings)
        finally:
            self._running -= 1
            if not self._running:
                self.spent_s += time.perf_counter() - self._since


def main() -> None:
    """Measure both plugins and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=30, help="pods of each measurement (30)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.inside:  # so that its bridges and rules do not touch the machine's
        again = [
            sys.executable,
            "-m",
            "benchmarks.pod_network",
            "--inside",
            "--pods",
            str(arguments.pods),
        ]
        os.execvp(
            "unshare",
            [
                "unshare",
                "--net",
                "--mount",
                "sh",
                "-c",
                'ip link set lo up; exec "$@"',
                "sh",
                *again,
            ],
        )
    clock = _Clock()
    for module in (asupervisor.network.cni.execute, asupervisor.network.hostports.iptables):
        module.run_program = clock.run_program  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as directory:
        for number, ports in enumerate(((), (PortMapping("tcp", 80, 8080),))):
            for name, make in (("cni", test_cni.Node), ("kubenet", test_kubenet.Node)):
                root = Path(directory, f"{name}{number}")
                root.mkdir()
                label = f"{name}, {number} host ports"
                uvloop.run(_measure(clock, arguments.pods, label, ports, make(root)))


async def _measure(
    clock: _Clock,
    pods: int,
    label: str,
    ports: tuple[PortMapping, ...],
    node: test_cni.Node | test_kubenet.Node,
) -> None:
    figures: dict[str, list[tuple[float, float, float]]] = {"set up": [], "tear down": []}
    async with node.running() as plugin:
        for _ in range(pods):
            namespace = Namespace()
            network = pod(namespace, *ports)
            for what, action in (("set up", plugin.set_up), ("tear down", plugin.tear_down)):
                figures[what].append(await _timed(clock, partial(action, network)))
            namespace.close()
    for what, samples in figures.items():
        totals, own = (
            [total for total, _, _ in samples],
            [total - programs for total, programs, _ in samples],
        )
        cpu = statistics.median(used for _, _, used in samples)
        print(
            f"{label:22} {what:10} ms: total median {_ms(statistics.median(totals))}, own median"
            f" {_ms(statistics.median(own))}, own p90 {_ms(statistics.quantiles(own, n=10)[-1])},"
            f" own max {_ms(max(own))}, CPU median {_ms(cpu)}"
        )


async def _timed(
    clock: _Clock, action: Callable[[], Awaitable[object]]
) -> tuple[float, float, float]:
    clock.spent_s = 0.0
    started, used = time.perf_counter(), time.process_time()
    await action()
    return time.perf_counter() - started, clock.spent_s, time.process_time() - used


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:6.1f}"


if __name__ == "__main__":
    main()
