"""``python -m tests.simulate``: one seed, or as many as there is time for."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from tests.simulate.report import excerpt, summary_line
from tests.simulate.run import Report, simulate

_A_CHILD = 10
"""Seeds that one child runs: what they leave is never collected, and goes with it."""


def main() -> int:
    """Run seeds; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--first", type=int, default=1, help="the first of several seeds")
    parser.add_argument("--seeds", type=int, default=0, help="how many")
    parser.add_argument("--wall", type=float, default=0.0, help="or for how many seconds")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--seconds", type=float, default=120.0, help="of virtual time with faults")
    parser.add_argument("--trace", action="store_true", help="print the whole trace")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of texts have the same order in each run only then.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulate", *sys.argv[1:]])
    gc.collect()
    gc.freeze()  # each run is collected after its end: without all the modules
    if arguments.seed is not None:
        first, count = arguments.seed, 1
    else:
        first, count = arguments.first, arguments.seeds or (10**9 if arguments.wall else 100)
    total = Total(time.perf_counter)
    for report, words in _reports(range(first, first + count), arguments.seconds, arguments.jobs):
        total.add(report)
        if arguments.trace:
            print("\n".join(report.trace))
        if report.findings:
            print(words, flush=True)
        if report.findings or arguments.seed is not None:
            print(summary_line(report), flush=True)
        elif total.is_due:
            print(total, flush=True)
        if arguments.wall and total.wall > arguments.wall:
            break
    print(total)
    return 1 if total.bad else 0


def _reports(seeds: range, seconds: float, jobs: int) -> Iterator[tuple[Report, str]]:
    """Each seed's report, with its findings in words."""
    if jobs == 1:
        for seed in seeds:
            report = simulate(seed, seconds)
            yield report, excerpt(report)
        return
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=_A_CHILD) as pool:
        step = jobs * _A_CHILD
        for at in range(0, len(seeds), step):
            yield from pool.imap(partial(_in_child, seconds), seeds[at : at + step])


def _in_child(seconds: float, seed: int) -> tuple[Report, str]:
    report = simulate(seed, seconds, collect=False)
    return replace(report, trace=[]), excerpt(report)


class Total:
    """What many runs came to.

    Args:
        clock: the real one.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._told = clock()
        self.seeds = self.calls = self.faults = self.kills = self.bad = 0
        self.virtual = 0.0

    @property
    def wall(self) -> float:
        """Seconds since the first one."""
        return self._clock() - self._began

    @property
    def is_due(self) -> bool:
        """Whether it is time to say how far it is: every five minutes."""
        if self._clock() - self._told < 300.0:
            return False
        self._told = self._clock()
        return True

    def add(self, report: Report) -> None:
        """One more."""
        self.seeds += 1
        self.calls += report.calls
        self.faults += report.faults
        self.kills += report.kills
        self.virtual += report.seconds
        self.bad += bool(report.findings)

    def __str__(self) -> str:
        return (
            f"{self.seeds} seeds, {self.virtual / 3600:.1f} virtual hours, {self.calls} calls,"
            f" {self.faults} faults, {self.kills} kills of the service, {self.bad} seeds with"
            f" findings, {self.wall:.0f} s ({sum(os.times()[:4]):.0f} s of a core)"
        )


if __name__ == "__main__":
    sys.exit(main())
