"""The measurements of pods' lives and of a crowd run end to end, and say all that they are to say.
Nothing here asserts how fast anything is. They leave the network, so each is a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.lives import STEPS
from benchmarks.nri import PLUGINS


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "benchmarks", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_pods_go_through_their_life_beside_the_floor(tmp_path: Path) -> None:
    # Nothing is a thousand times as fast as bare calls: the guard must complain.
    recorded = {"ratios": {"to a started container, 1 at a time": 0.001}}
    (tmp_path / "before.json").write_text(json.dumps(recorded))
    ran = _run(
        "pod-life",
        "--at-a-time=1,2",
        "--pods=2",
        "--turns=2",
        "--memory-pods=1",
        "--memory-containers=2",
        "--rest=0",
        f"--json={tmp_path}/now.json",
        f"--svg={tmp_path}/now.svg",
        f"--against={tmp_path}/before.json",
    )
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("to a started container, 1 at a time: ")
    assert "## 2 at a time, 2 pods each" in ran.stdout
    results = json.loads((tmp_path / "now.json").read_text())
    turns = {(one["at_a_time"], one["server"]): one["turns"] for one in results["lives"]}
    assert {key: [len(pods) for pods in each] for key, each in turns.items()} == {
        (1, "asupervisor"): [1, 1],
        (1, "floor"): [1, 1],
        (2, "asupervisor"): [2],
        (2, "floor"): [2],
    }
    pods = [pod for each in turns.values() for pods in each for pod in pods]
    assert all(set(pod["taken_ms"]) == set(STEPS) for pod in pods)
    assert all(pod["taken_ms"][step] <= pod["after_ms"][step] for pod in pods for step in STEPS)
    assert all(one["cpu_s"] > 0 for one in results["lives"] if one["server"] == "asupervisor")
    assert [0 < one["pss"] <= one["rss"] for one in results["memory"]["asupervisor"]] == [True] * 2
    assert (tmp_path / "now.svg").read_text().startswith("<svg ")


def test_a_crowd_is_counted(tmp_path: Path) -> None:
    ran = _run(
        "crowd",
        "--pods=1",
        "--containers=2",
        "--starts=1",
        "--events=2",
        "--callers=1,3",
        "--seconds=0.05",
        f"--json={tmp_path}/now.json",
    )
    assert ran.returncode == 0, ran.stderr
    results = json.loads((tmp_path / "now.json").read_text())
    assert len(results["start_s"]) == 1 and results["start_s"][0] > 0
    asked = {(one["call"], str(one["callers"])) for one in results["samples"]}
    held = {(call, callers) for call, each in results["held_ms"].items() for callers in each}
    assert asked == held and ("ListContainers", "3") in held
    assert all(one["failed"] == 0 for one in results["samples"])
    assert all(0 < one["p50_us"] <= one["worst_us"] for one in results["samples"])


def test_what_plugins_cost_is_counted_for_each() -> None:
    ran = _run("nri", "--rounds=2")
    assert ran.returncode == 0, ran.stderr
    assert all(f"| {name} " in ran.stdout for name in ("disabled", "none is connected", *PLUGINS))
