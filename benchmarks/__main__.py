"""Concurrent throughput of CRI servers, side by side in one run: ``python -m benchmarks --endpoint
NAME=unix:///PATH …``, or ``python -m benchmarks throughput …``. ``pod-life``, ``crowd`` and
``nri`` in place of that measure how long a pod's life takes, a node with many pods, and what NRI
plugins cost.

Without --endpoint it starts an engine and a service of its own (as root, with dockerd installed)
and measures that. Run it from the repository's root. What the figures mean, and their limits, is in
docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from asupervisor.errors import ServiceError
from benchmarks import crowd, lifecycle, nri, own, pod_life, prepare, report
from benchmarks.http2 import Broken
from benchmarks.measure import Endpoint, Plan, Results, measure
from benchmarks.methods import CALLS, try_call
from benchmarks.process import Memory


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--endpoint",
        action="append",
        default=[],
        metavar="NAME=unix:///PATH",
        help="a CRI server; may be repeated",
    )
    parser.add_argument(
        "--helper",
        action="append",
        default=[],
        metavar="NAME=PID",
        help="a process that works for a server, such as the engine behind a shim; its CPU time "
        "and memory are counted with the server's",
    )
    parser.add_argument(
        "--pods",
        type=int,
        default=25,
        help="pods made on each server first, removed at the end; 0 takes it as it is (25)",
    )
    parser.add_argument(
        "--containers", type=int, default=50, help="containers in all those pods together (50)"
    )
    parser.add_argument(
        "--image",
        default=own.IMAGE,
        help=f"the containers' image, pulled where it is not there ({own.IMAGE})",
    )
    parser.add_argument(
        "--host-network", action="store_true", help="make pods of the host's network"
    )
    parser.add_argument("--callers", default="1,16,64", help="calls under way at a time (1,16,64)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="seconds of each measurement (1.0)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=0.3, help="seconds of calls before it (0.3)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="how often each measurement is made; the servers take turns (3)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="load generators, each with a connection of its own (1)",
    )
    parser.add_argument(
        "--calls",
        default="",
        help="only those whose name contains one of these words, separated by commas",
    )
    parser.add_argument(
        "--pod-life",
        type=int,
        default=20,
        metavar="PODS",
        help="pods taken through their life on each server; 0 for none (20)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(given)


def _endpoints(arguments: argparse.Namespace, stack: ExitStack) -> list[Endpoint]:
    helpers: dict[str, list[int]] = {}
    for value in arguments.helper:
        name, _, pid = value.rpartition("=")
        helpers.setdefault(name, []).append(int(pid))
    endpoints = []
    for value in arguments.endpoint:
        name, _, path = value.partition("=")
        if not path.startswith(("unix:///", "/")):
            raise SystemExit(f"--endpoint {value}: it takes NAME=unix:///PATH")
        endpoints.append(Endpoint(name, path.removeprefix("unix://"), tuple(helpers.pop(name, ()))))
    if not endpoints:
        endpoints.append(
            Endpoint(
                "asupervisor",
                stack.enter_context(own.service()),
                tuple(helpers.pop("asupervisor", ())),
            )
        )
    if helpers:
        raise SystemExit(f"--helper names no endpoint: {', '.join(helpers)}")
    return endpoints


@asynccontextmanager
async def _prepared(
    endpoints: list[Endpoint], arguments: argparse.Namespace
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for endpoint in endpoints:
            if arguments.pods:
                make = prepare.pods(
                    endpoint.target,
                    arguments.pods,
                    arguments.containers,
                    arguments.image,
                    arguments.host_network,
                )
                await stack.enter_async_context(make)
                _tell(
                    f"{endpoint.name} runs {arguments.pods} pods with {arguments.containers}"
                    " containers"
                )
        yield


async def _run(endpoints: list[Endpoint], arguments: argparse.Namespace) -> Results:
    words = [word for word in arguments.calls.split(",") if word]
    calls = [call for call in CALLS if not words or any(word in call.label for word in words)]
    results = Results()
    async with _prepared(endpoints, arguments):
        before = {}
        for endpoint in endpoints:
            on = await prepare.subjects(endpoint.target, arguments.image if arguments.pods else "")
            for call in calls:
                results.answers[endpoint.name, call.label] = await anyio.to_thread.run_sync(
                    try_call, endpoint.target, call, on
                )
            before[endpoint.name] = Memory.of(endpoint.processes())
        plan = Plan(
            tuple(int(number) for number in arguments.callers.split(",")),
            arguments.rounds,
            arguments.seconds,
            arguments.warm_up,
            arguments.processes,
        )
        await anyio.to_thread.run_sync(partial(measure, endpoints, calls, plan, results, _tell))
        for endpoint in endpoints:
            results.memory[endpoint.name] = before[endpoint.name], Memory.of(endpoint.processes())
    for endpoint in endpoints:
        if arguments.pod_life:
            life = lifecycle.measure(
                endpoint.target, arguments.pod_life, arguments.image, arguments.host_network
            )
            results.steps_s[endpoint.name] = await life
    return results


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}; load average {os.getloadavg()[0]:.1f}\n")


def main(given: list[str]) -> int:
    """Measure and print; 1 when any call failed, 2 when it could not be measured."""
    match given[:1]:
        case ["pod-life"]:
            return pod_life.main(given[1:])
        case ["crowd"]:
            return crowd.main(given[1:])
        case ["nri"]:
            return nri.main(given[1:])
        case ["throughput"]:
            given = given[1:]
    arguments = _arguments(given)
    results = None
    try:
        with ExitStack() as stack:
            endpoints = _endpoints(arguments, stack)
            results = anyio.run(_run, endpoints, arguments)
    except* (ServiceError, Broken, OSError) as group:
        sys.stderr.write(f"could not measure: {'; '.join(map(str, group.exceptions))}\n")
    if results is None:
        return 2
    names, labels = (
        [endpoint.name for endpoint in endpoints],
        list(dict.fromkeys(label for _, label in results.answers)),
    )
    load = [sample.load for samples in results.samples.values() for sample in samples]
    print(
        f"{os.cpu_count()} cores; load average {min(load, default=0):.1f} to"
        f" {max(load, default=0):.1f} during the run\n"
    )
    for callers in sorted({callers for _, callers, _ in results.samples}):
        print(f"## {callers} callers\n\n{report.throughput(results, names, labels, callers)}\n")
    print(f"## Resident memory\n\n{report.memory(results)}")
    if results.steps_s:
        print(f"\n## Pod life, {prepare.AT_A_TIME} at a time\n\n{report.pod_life(results)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(results), indent=1))
    return (
        1 if any(sample.failed for samples in results.samples.values() for sample in samples) else 0
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
