"""One measurement after another, the servers taking turns."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.load import Generator, Job, Load
from benchmarks.methods import Answer, Call
from benchmarks.process import Memory, cpu_s, family, listener

_BUSY = 0.9
"""A generator that used this much of a core was probably what limited the rate."""


@dataclass(frozen=True)
class Endpoint:
    """A CRI server under measurement.

    Args:
        name: in the report.
        path: of its socket.
        helpers: processes beside the listening one that do its work (the engine behind a shim),
            counted with it.
    """

    name: str
    path: str
    helpers: tuple[int, ...] = ()

    @property
    def target(self) -> str:
        """Its address for a gRPC client."""
        return f"unix://{self.path}"

    def processes(self) -> list[int]:
        """The listening process, its helpers, and every descendant of theirs."""
        return [pid for root in (listener(self.path), *self.helpers) for pid in family(root)]


@dataclass(frozen=True)
class Plan:
    """How long and how often.

    Args:
        callers: how many calls are under way at any time; one measurement for each.
        rounds: how often each measurement is made.
        seconds: of each measurement.
        warm_s: seconds of calls before it.
        processes: load generators; each has a connection of its own and its share of the callers.
    """

    callers: tuple[int, ...]
    rounds: int
    seconds: float
    warm_s: float
    processes: int


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Args:
        rate: successful calls per second.
        p50_us, p99_us, worst_us: latency percentiles, and the longest.
        server_cpu_us: CPU time of the server for each call.
        server_cores: cores that the server kept busy.
        generator_cores: cores that the busiest load generator kept busy; 1 is all that one can.
        failed: calls that failed.
        load: the machine's load average at the end (one minute).
    """

    rate: float
    p50_us: float
    p99_us: float
    worst_us: float
    server_cpu_us: float
    server_cores: float
    generator_cores: float
    failed: int
    load: float

    @property
    def generator_bound(self) -> bool:
        """Whether the load generator rather than the server was the limit."""
        return self.generator_cores >= _BUSY


@dataclass
class Results:
    """Everything measured.

    Attributes:
        samples: by call label, callers and endpoint name; one for each round.
        answers: how each endpoint answered a first try, by endpoint name and call label.
        memory: by endpoint name, before the load and after it.
        steps_s: seconds of the steps of pods' lives, by endpoint name and step.
    """

    samples: dict[tuple[str, int, str], list[Sample]] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    memory: dict[str, tuple[Memory, Memory]] = field(default_factory=dict)
    steps_s: dict[str, dict[str, list[float]]] = field(default_factory=dict)


def percentile(values: list[int], share: float) -> float:
    """The value that ``share`` of the sorted values do not exceed; 0 for none."""
    return float(values[min(len(values) - 1, int(len(values) * share))]) if values else 0.0


def sample(
    endpoint: Endpoint, answer: Answer, callers: int, plan: Plan, generators: list[Generator]
) -> Sample:
    """Make one measurement.

    Raises:
        Broken: the server went away.
    """
    used = generators[: min(len(generators), callers)]
    shares = [callers // len(used) + (index < callers % len(used)) for index in range(len(used))]
    for generator, share in zip(used, shares, strict=True):
        generator.prepare(
            Job(endpoint.path, answer.path, answer.request.hex(), share, plan.warm_s, plan.seconds)
        )
    processes = endpoint.processes()
    before = cpu_s(processes)
    for generator in used:
        generator.start()
    for generator in used:
        generator.wait()
    server_s = cpu_s(processes) - before
    return _sample([generator.result() for generator in used], server_s)


def _sample(loads: list[Load], server_s: float) -> Sample:
    latencies = sorted(latency for load in loads for latency in load.latencies_us)
    elapsed_s = max(load.elapsed_s for load in loads)
    return Sample(
        rate=sum(len(load.latencies_us) / load.elapsed_s for load in loads),
        p50_us=percentile(latencies, 0.5),
        p99_us=percentile(latencies, 0.99),
        worst_us=percentile(latencies, 1.0),
        server_cpu_us=server_s / len(latencies) * 1e6 if latencies else 0.0,
        server_cores=server_s / elapsed_s,
        generator_cores=max(load.cpu_s / load.elapsed_s for load in loads),
        failed=sum(load.failed for load in loads),
        load=os.getloadavg()[0],
    )


def measure(
    endpoints: list[Endpoint],
    calls: list[Call],
    plan: Plan,
    results: Results,
    tell: Callable[[str], None],
) -> None:
    """Measure every call at every number of callers, the endpoints taking turns, their order turned
    round with each round.

    Args:
        endpoints: the servers.
        calls: those to measure; what a server answered with an error (``results.answers``) is left
            out for it.
        plan: how long and how often.
        results: where the samples go.
        tell: is told how far it has come.
    """
    with ExitStack() as stack:
        generators = [stack.enter_context(Generator()) for _ in range(plan.processes)]
        for round_number in range(plan.rounds):
            for call in calls:
                for callers in plan.callers:
                    for endpoint in endpoints if round_number % 2 == 0 else endpoints[::-1]:
                        answer = results.answers[endpoint.name, call.label]
                        if answer.path:
                            taken = sample(endpoint, answer, callers, plan, generators)
                            results.samples.setdefault(
                                (call.label, callers, endpoint.name), []
                            ).append(taken)
                tell(f"round {round_number + 1} of {plan.rounds}: {call.label}")
