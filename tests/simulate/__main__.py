"""``python -m tests.simulate``: one seed, or as many as there is time for."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time

from tests.simulate.report import excerpt, summary_line
from tests.simulate.world import simulate


def main() -> int:
    """Run seeds; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--first", type=int, default=1, help="the first of several seeds")
    parser.add_argument("--seeds", type=int, default=0, help="how many")
    parser.add_argument("--wall", type=float, default=0.0, help="or for how many seconds")
    parser.add_argument("--seconds", type=float, default=120.0, help="of virtual time with faults")
    parser.add_argument("--trace", action="store_true", help="print the whole trace")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of texts have the same order in each run only then.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulate", *sys.argv[1:]])
    gc.collect()
    gc.freeze()  # each run is collected after its end: without all the modules
    clock = time.perf_counter
    began = clock()
    if arguments.seed is not None:
        first, count = arguments.seed, 1
    else:
        first, count = arguments.first, arguments.seeds or (10**9 if arguments.wall else 100)
    seeds = calls = faults = kills = bad = 0
    virtual = 0.0
    for seed in range(first, first + count):
        if arguments.wall and clock() - began > arguments.wall:
            break
        report = simulate(seed, arguments.seconds)
        seeds += 1
        calls, faults, kills = calls + report.calls, faults + report.faults, kills + report.kills
        virtual += report.seconds
        if arguments.trace:
            print("\n".join(report.trace))
        if report.findings:
            bad += 1
            print(excerpt(report), flush=True)
        if report.findings or arguments.seed is not None:
            print(summary_line(report), flush=True)
    print(
        f"{seeds} seeds, {virtual / 3600:.1f} virtual hours, {calls} calls, {faults} faults,"
        f" {kills} kills of the service, {bad} seeds with findings, {clock() - began:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
