"""A node with many pods: ``python -m benchmarks crowd`` (as root, with dockerd).

An engine and a service of its own. With the pods running it measures how long a service that is
started again takes to its first full list, what it keeps for each container, the CPU time of an
event, how long lists take alone and by many callers, and for how long the event loop is held
meanwhile. The last is read in a service within this process, in CPU time of the loop's thread, so
that other work on the machine does not count."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import anyio
import anyio.to_thread

from asupervisor.errors import ServiceError
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from benchmarks import measure, own, prepare, report
from benchmarks.http2 import Broken
from benchmarks.load import Generator
from benchmarks.measure import Endpoint, Plan
from benchmarks.methods import CALLS, Subjects, try_call
from benchmarks.process import Memory, own_cpu_s
from benchmarks.turns import LongestTurn
from tests.harness.pods import until
from tests.harness.service import service_config

_LISTS = (
    "ListPodSandbox",
    "ListContainers",
    "ListContainerStats",
    "ListPodSandboxStats",
    "ListPodSandboxMetrics",
)
_CALLS = [call for call in CALLS if call.label in _LISTS]
_PATIENCE_S = 300.0
_REST_S = 1.0


@dataclass
class Figures:
    """What was measured.

    Attributes:
        start_s: seconds from exec to the first full list, of each start.
        each_bytes: that the service has more with the crowd than without, for each container and
            sandbox: RSS and PSS.
        event_ms: CPU time of one event.
        load: the lists' latencies.
        held_ms: the longest turn of the event loop, by method and callers.
    """

    start_s: list[float] = field(default_factory=list)
    each_bytes: Memory = field(default_factory=lambda: Memory(0, 0))
    event_ms: float = 0.0
    load: measure.Results = field(default_factory=measure.Results)
    held_ms: dict[str, dict[int, float]] = field(default_factory=dict)


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks crowd",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pods", type=int, default=200, help="pods (200)")
    add("--containers", type=int, default=800, help="running containers in all of them (800)")
    add("--starts", type=int, default=3, help="starts of the service, with the pods there (3)")
    add("--events", type=int, default=200, help="events over which the CPU time is measured (200)")
    add("--callers", default="1,16", help="list calls under way at a time (1,16)")
    add(
        "--seconds",
        type=float,
        default=2.0,
        help="seconds of list calls, for each number of callers (2.0)",
    )
    add("--json", type=Path, metavar="FILE", help="write every figure there")
    return parser.parse_args(given)


async def _measure(node: own.Node, options: argparse.Namespace, figures: Figures) -> None:
    service = node.service
    endpoint = Endpoint("asupervisor", str(service.socket))
    callers = tuple(map(int, options.callers.split(",")))
    empty = Memory.of([service.pid])
    make = prepare.pods(service.endpoint, options.pods, options.containers, own.IMAGE, False)
    async with make:
        _tell("the pods run")
        for _ in range(options.starts):
            await anyio.to_thread.run_sync(service.stop)
            figures.start_s.append(await _start(node, options.containers))
        full = Memory.of([service.pid])
        objects = options.pods + options.containers
        figures.each_bytes = Memory(
            (full.rss - empty.rss) // objects, (full.pss - empty.pss) // objects
        )
        _tell("it was started again")
        figures.event_ms = await anyio.to_thread.run_sync(_event_ms, node, options.events)
        on = Subjects("", "", "")
        for call in _CALLS:
            answer = await anyio.to_thread.run_sync(try_call, endpoint.target, call, on)
            figures.load.answers[endpoint.name, call.label] = answer
        plan = Plan(callers, 1, options.seconds, 0.3, 1)
        await anyio.to_thread.run_sync(
            partial(measure.measure, [endpoint], _CALLS, plan, figures.load, _tell)
        )
        await anyio.to_thread.run_sync(service.stop)
        try:
            await _hold(node, endpoint, plan, figures)
        finally:
            await anyio.to_thread.run_sync(service.start)


async def _start(node: own.Node, containers: int) -> float:
    """Start the service. Returns the seconds from exec to a list with every container."""
    seen, began = len(node.service.output), time.perf_counter()
    node.service.spawn()

    async def full() -> bool:
        if not await anyio.to_thread.run_sync(node.service.listens):
            return False
        with suppress(ServiceError):
            async with RemoteRuntimeService.connect(node.service.endpoint, 30.0) as runtime:
                return len(await runtime.list_containers()) >= containers
        return False

    await until(full, "the service lists every container", _PATIENCE_S)
    taken_s = time.perf_counter() - began
    await until(lambda: "ready: serving" in node.service.output[seen:], "it is ready", _PATIENCE_S)
    return taken_s


def _event_ms(node: own.Node, events: int) -> float:
    """CPU milliseconds of the service for each of so many events of different containers, which
    change nothing; without what it uses in the same time when nothing happens.
    """
    running = [one["Id"] for one in node.engine.request("GET", "/containers/json")[1]]
    began, before = time.monotonic(), own_cpu_s(node.service.pid)
    for number in range(events):
        path = f"/containers/{running[number % len(running)]}/update"
        status, answer = node.engine.request("POST", path, {})
        assert status == 200, answer
    time.sleep(_REST_S)  # what the last events cost is spent by then; not a wait for a condition
    taken_s, used_s = time.monotonic() - began, own_cpu_s(node.service.pid) - before
    before = own_cpu_s(node.service.pid)
    time.sleep(taken_s)  # the same time without events
    return (used_s - (own_cpu_s(node.service.pid) - before)) / events * 1000


async def _hold(node: own.Node, endpoint: Endpoint, plan: Plan, figures: Figures) -> None:
    """The longest turn of the event loop while lists are asked for."""
    config = service_config(node.engine, node.service.directory)
    async with Supervisor(config) as supervisor:
        await until(lambda: supervisor.ready, "the service is ready", _PATIENCE_S)
        with Generator() as generator:
            for call in _CALLS:
                answer = figures.load.answers[endpoint.name, call.label]
                for callers in plan.callers if answer.path else ():
                    work = partial(measure.sample, endpoint, answer, callers, plan, [generator])
                    longest_s = await _longest_turn_s(work)
                    figures.held_ms.setdefault(call.label, {})[callers] = longest_s * 1000
                _tell(f"the event loop beside {call.label}")


async def _longest_turn_s(work: Callable[[], object]) -> float:
    longest = LongestTurn()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(longest.watch)
        await anyio.to_thread.run_sync(work)
        tasks.cancel_scope.cancel()
    return longest.seconds


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _table(figures: Figures) -> str:
    rows = []
    for (label, callers, _), samples in figures.load.samples.items():
        one = samples[0]
        held = figures.held_ms.get(label, {}).get(callers)
        rows.append(
            [
                label,
                str(callers),
                *(
                    report.spread([value / 1000])
                    for value in (one.p50_us, one.p99_us, one.worst_us)
                ),
                report.spread([held]) if held is not None else "",
            ]
        )
    return report.table(
        ["list", "callers", "p50 ms", "p99 ms", "worst ms", "longest turn of the loop, ms of CPU"],
        rows,
    )


def main(given: list[str]) -> int:
    """Measure and print; 2 when it could not be measured."""
    options, figures = _arguments(given), Figures()
    try:
        with own.node() as node:
            anyio.run(_measure, node, options, figures, backend_options={"use_uvloop": True})
    except* (ServiceError, Broken, OSError) as group:
        sys.stderr.write(f"could not measure: {'; '.join(map(str, group.exceptions))}\n")
    if not figures.held_ms:
        return 2
    each = figures.each_bytes
    load = [one.load for samples in figures.load.samples.values() for one in samples]
    print(
        f"{options.pods} pods, {options.containers} running containers; load average"
        f" {min(load):.1f} to {max(load):.1f}\n\n"
        f"exec to the first full list: {report.spread(figures.start_s)} s\n"
        f"memory for each pod and container: {each.rss / 1024:.1f} KiB (RSS),"
        f" {each.pss / 1024:.1f} KiB (PSS)\n"
        f"CPU of one event: {figures.event_ms:.2f} ms\n\n{_table(figures)}"
    )
    if options.json:
        document = {
            "pods": options.pods,
            "containers": options.containers,
            "start_s": figures.start_s,
            "median_start_s": median(figures.start_s),
            "each_bytes": asdict(each),
            "event_ms": figures.event_ms,
            "held_ms": figures.held_ms,
            **report.as_json(figures.load),
        }
        options.json.write_text(json.dumps(document, indent=1))
    return 0
