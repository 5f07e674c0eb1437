"""How long a pod's life takes, beside other CRI servers and beside the engine's own part of it:
``python -m benchmarks pod-life`` (as root, with dockerd and the CNI plugins).

It starts an engine and a service of its own. Each ``--endpoint`` is one more server, with an engine
of its own and the same plugins. *floor* is what bare engine calls and bare plugins take for the
same, one after the other, on the service's engine. They take turns; what the figures mean is in
docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiodocker
import anyio

from asupervisor.errors import ServiceError
from asupervisor.remote import RemoteRuntimeService
from benchmarks import own, plot, prepare, report
from benchmarks.floor import Floor
from benchmarks.lives import STEPS, TO_NOTHING, TO_STARTED, Pod, Runner, Server, turn
from benchmarks.measure import Endpoint
from benchmarks.process import Memory, listener, own_cpu_s

OURS, FLOOR = "asupervisor", "floor"
_WORSE = 1.2
_TIMEOUT_S = 600.0
_SUMS = {"to a started container": TO_STARTED, "stop to nothing left": TO_NOTHING}


@dataclass
class Lives:
    """Of one server, so many pods at a time.

    Args:
        turns: the pods of each turn.
        cpu_s: CPU seconds of the server's own process in all of them; 0 for the floor.
    """

    turns: list[list[Pod]] = field(default_factory=list)
    cpu_s: float = 0.0

    @property
    def pods(self) -> list[Pod]:
        """Those of all turns."""
        return [pod for pods in self.turns for pod in pods]


@dataclass
class Results:
    """Everything measured.

    Attributes:
        lives: by pods at a time and server.
        memory: by server, with pods running: at once, and after a rest.
        load: load averages at the end of each turn.
    """

    lives: dict[int, dict[str, Lives]] = field(default_factory=dict)
    memory: dict[str, list[Memory]] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks pod-life",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--endpoint", action="append", default=[], metavar="NAME=unix:///PATH", help="a CRI server")
    add(
        "--image", default=own.IMAGE, help=f"image of the containers on those servers ({own.IMAGE})"
    )
    add("--at-a-time", default="1,4,110", help="pods that start, or stop, at a time (1,4,110)")
    add(
        "--pods", type=int, default=24, help="pods for each of these, at least, on each server (24)"
    )
    add(
        "--turns",
        type=int,
        default=4,
        help="turns in which they are made, one server after the other (4)",
    )
    add(
        "--memory-pods",
        type=int,
        default=25,
        help="pods while memory is read; 0: do not read it (25)",
    )
    add("--memory-containers", type=int, default=50, help="containers in those pods (50)")
    add("--rest", type=float, default=10.0, help="seconds to a second reading of memory (10)")
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    add("--svg", type=Path, metavar="FILE", help="draw the sums there")
    add(
        "--against",
        type=Path,
        metavar="FILE",
        help="an earlier --json: fail if a sum, as a ratio to its floor, is a fifth worse",
    )
    return parser.parse_args(given)


@asynccontextmanager
async def _runners(
    node: own.Node, endpoints: list[Endpoint], image: str, logs: Path
) -> AsyncIterator[dict[str, Runner]]:
    run, runners = prepare.new_run(), dict[str, Runner]()
    async with AsyncExitStack() as stack:
        for endpoint in endpoints:
            its_image = own.IMAGE if endpoint.name == OURS else image
            await prepare.ensure_image(endpoint.target, its_image)
            runtime = await stack.enter_async_context(
                RemoteRuntimeService.connect(endpoint.target, _TIMEOUT_S)
            )
            await stack.enter_async_context(prepare.removing(runtime, run))
            runners[endpoint.name] = Server(runtime, its_image, logs, run)
        docker = await stack.enter_async_context(aiodocker.Docker(node.engine.endpoint))
        ours = runners[OURS]
        assert isinstance(ours, Server)
        runners[FLOOR] = await Floor.like(docker, node.network, ours.runtime, own.IMAGE, logs)
        yield runners


async def _run(
    node: own.Node, endpoints: list[Endpoint], options: argparse.Namespace, results: Results
) -> None:
    pids = {endpoint.name: listener(endpoint.path) for endpoint in endpoints}
    with tempfile.TemporaryDirectory(prefix="asupervisor-benchmark-", dir="/var/tmp") as logs:
        async with _runners(node, endpoints, options.image, Path(logs)) as runners:
            for at_a_time in map(int, options.at_a_time.split(",")):
                lives = results.lives[at_a_time] = {name: Lives() for name in runners}
                # Whole rounds of so many at a time.
                each = -(-max(1, options.pods // options.turns) // at_a_time) * at_a_time
                for number in range(-(-options.pods // each)):
                    for name in list(runners) if number % 2 == 0 else list(runners)[::-1]:
                        before = own_cpu_s(pids[name]) if name in pids else 0.0
                        lives[name].turns.append(await turn(runners[name], each, at_a_time))
                        lives[name].cpu_s += own_cpu_s(pids[name]) - before if before else 0.0
                        results.load.append(os.getloadavg()[0])
                    _tell(f"{at_a_time} at a time, turn {number + 1}")
    for endpoint in endpoints if options.memory_pods else []:
        image = own.IMAGE if endpoint.name == OURS else options.image
        async with prepare.pods(
            endpoint.target, options.memory_pods, options.memory_containers, image, False
        ):
            results.memory[endpoint.name] = [Memory.of(endpoint.processes())]
            await anyio.sleep(options.rest)
            results.memory[endpoint.name].append(Memory.of(endpoint.processes()))
        _tell(f"memory of {endpoint.name}")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}; load average {os.getloadavg()[0]:.1f}\n")


def ratios(results: Results) -> dict[str, float]:
    """How many times as long as the floor the service's sums take, at the median."""
    found = {}
    for at_a_time, lives in results.lives.items():
        for name, steps in _SUMS.items():
            ours, floor = (
                median(pod.sum_ms(steps) for pod in lives[server].pods) for server in (OURS, FLOOR)
            )
            found[f"{name}, {at_a_time} at a time"] = ours / floor
    return found


def worse(now: dict[str, float], before: dict[str, float]) -> list[str]:
    """What is worse by a fifth than it was, in words."""
    return [
        f"{name}: {now[name]:.2f} of the floor, and was {before[name]:.2f}"
        for name in now
        if name in before and now[name] > before[name] * _WORSE
    ]


def _table(at_a_time: int, lives: dict[str, Lives]) -> str:
    rows = [
        [step, *(report.spread([pod.taken_ms[step] for pod in one.pods]) for one in lives.values())]
        for step in STEPS
    ]
    for name, steps in _SUMS.items():
        sums = {server: [pod.sum_ms(steps) for pod in one.pods] for server, one in lives.items()}
        rows.append([f"**{name}**", *map(report.spread, sums.values())])
        middle = {server: median(values) for server, values in sums.items()}
        for other in (server for server in lives if server != OURS):
            share = f"{middle[OURS] / middle[other]:.2f}"
            rows.append([f"{OURS} / {other}", share, *[""] * (len(lives) - 1)])
    if at_a_time > 1:
        for name, step, which in (
            ("from the turn's begin: median sandbox", "RunPodSandbox", median),
            ("from the turn's begin: last container started", "StartContainer", max),
            ("from the turn's begin: nothing left", "RemovePodSandbox", max),
        ):
            rows.append(
                [
                    name,
                    *(
                        report.spread(
                            [which(pod.after_ms[step] for pod in pods) for pods in one.turns]
                        )
                        for one in lives.values()
                    ),
                ]
            )
    cpu = [f"{one.cpu_s / len(one.pods) * 1000:.1f}" if one.cpu_s else "" for one in lives.values()]
    rows.append(["CPU of the server's own process, each pod", *cpu])
    return report.table(["ms", *lives], rows)


def _memory(results: Results) -> str:
    return report.table(
        ["MiB, children included", *results.memory],
        [
            [
                f"{kind.upper()}, {when}",
                *(f"{getattr(each[at], kind) / 2**20:.0f}" for each in results.memory.values()),
            ]
            for kind in ("rss", "pss")
            for at, when in enumerate(("just after", "after a rest"))
        ],
    )


def as_json(results: Results) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "machine": machine(),
        "load": results.load,
        "ratios": ratios(results),
        "lives": [
            {
                "at_a_time": at_a_time,
                "server": server,
                "cpu_s": one.cpu_s,
                "turns": [
                    [{"taken_ms": pod.taken_ms, "after_ms": pod.after_ms} for pod in pods]
                    for pods in one.turns
                ],
            }
            for at_a_time, lives in results.lives.items()
            for server, one in lives.items()
        ],
        "memory": {
            server: [asdict(reading) for reading in readings]
            for server, readings in results.memory.items()
        },
    }


def machine() -> str:
    """The machine's facts, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, CPython"
        f" {platform.python_version()}"
    )


def _print(results: Results, version: str) -> None:
    print(
        f"{machine()}, Docker Engine {version} of {OURS} and {FLOOR}; load average"
        f" {min(results.load):.1f} to {max(results.load):.1f}"
    )
    for at_a_time, lives in results.lives.items():
        pods = len(lives[OURS].pods)
        print(f"\n## {at_a_time} at a time, {pods} pods each\n\n{_table(at_a_time, lives)}")
    if results.memory:
        print(f"\n## Memory\n\n{_memory(results)}")


def main(given: list[str]) -> int:
    """Measure and print; 1 where a ratio is worse than recorded, 2 when it could not be
    measured.
    """
    options = _arguments(given)
    before = json.loads(options.against.read_text())["ratios"] if options.against else {}
    results, version = Results(), ""
    try:
        with own.node(cni=True) as node:
            version = node.engine.request("GET", "/version")[1]["Version"]
            endpoints = [Endpoint(OURS, str(node.service.socket))]
            for value in options.endpoint:
                name, _, path = value.partition("=")
                endpoints.append(Endpoint(name, path.removeprefix("unix://")))
            measuring = partial(_run, node, endpoints, options, results)
            anyio.run(measuring, backend_options={"use_uvloop": True})
    except* (ServiceError, aiodocker.DockerError, OSError) as group:
        sys.stderr.write(f"could not measure: {'; '.join(map(str, group.exceptions))}\n")
        version = ""
    if not version:
        return 2
    _print(results, version)
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1))
    if options.svg:
        bars = {
            f"{name}, {at_a_time} at a time": {
                server: median(pod.sum_ms(steps) for pod in one.pods)
                for server, one in lives.items()
            }
            for at_a_time, lives in results.lives.items()
            for name, steps in _SUMS.items()
        }
        options.svg.write_text(plot.bars("A pod's life, median ms", bars))
    complaints = worse(ratios(results), before)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0
