"""The benchmark measures a real service end to end. Nothing here asserts how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.http2 import Broken, Connection
from benchmarks.lifecycle import STEPS
from benchmarks.process import cpu_s, family, listener
from tests.harness.engine import Engine
from tests.harness.service import Service

_CALLS = "Version,ListContainers,ListImages,StreamContainers"


def test_it_measures_a_service_and_leaves_nothing(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service(engine)
    service.start()
    try:
        assert listener(str(service.socket)) == service.pid
        assert service.pid in family(service.pid) and cpu_s([service.pid]) > 0
        # The same server twice: what the endpoints share of the work is theirs to split.
        assert engine.process is not None
        arguments = [
            f"--endpoint=one={service.endpoint}",
            f"--endpoint=two={service.socket}",
            f"--helper=two={engine.process.pid}",
            "--pods=1",
            "--containers=2",
            f"--calls={_CALLS}",
            "--callers=1,3",
            "--seconds=0.05",
            "--warm-up=0.01",
            "--rounds=2",
            "--processes=2",
            "--pod-life=1",
            f"--json={tmp_path}/results.json",
        ]
        code = main(arguments)
        assert code == 0
        assert not engine.containers()
    finally:
        service.stop()
    results = json.loads((tmp_path / "results.json").read_text())
    assert not [answer for answer in results["answers"] if answer["problem"]]
    calls = {answer["call"] for answer in results["answers"]}
    assert {
        "Version",
        "ListContainers",
        "ListContainers, one pod's",
        "ListImages",
        "StreamContainers",
    } == calls
    measured = {
        (sample["call"], sample["callers"], sample["server"]) for sample in results["samples"]
    }
    assert measured == {
        (call, callers, server) for call in calls for callers in (1, 3) for server in ("one", "two")
    }
    assert len(results["samples"]) == 2 * len(measured)
    for sample in results["samples"]:
        assert (
            sample["failed"] == 0
            and sample["rate"] > 0
            and 0 < sample["p50_us"] <= sample["p99_us"]
        ), sample
    for one in results["memory"].values():
        assert all(0 < reading["pss"] <= reading["rss"] for reading in one)
    assert {server: set(steps) for server, steps in results["pod_life_s"].items()} == {
        "one": set(STEPS),
        "two": set(STEPS),
    }
    assert all(
        len(taken) == 1 for steps in results["pod_life_s"].values() for taken in steps.values()
    )
    table = capsys.readouterr().out
    assert "## 3 callers" in table and "| ListContainers, one pod's | two" in table


def test_the_load_generator_counts_what_fails(engine: Engine) -> None:
    service = Service(engine)
    service.start()
    try:
        connection = Connection(str(service.socket), "/runtime.v1.RuntimeService/NoSuchMethod", b"")
        try:
            outcome = connection.run(4, 0.05)
        finally:
            connection.close()
        assert outcome.failed >= 4 and not outcome.latencies_s
        connection = Connection(str(service.socket), "/runtime.v1.RuntimeService/Version", b"")
        service.kill()
        with pytest.raises((Broken, OSError)):
            connection.run(4, 60.0)
        connection.close()
    finally:
        if service.process is not None:
            service.stop()


def test_a_stream_that_ends_well_without_a_message_is_a_good_call(
    engine: Engine, tmp_path: Path
) -> None:
    service = Service(engine)
    service.start()
    try:
        code = main(
            [
                f"--endpoint=it={service.endpoint}",
                "--calls=StreamContainers,StreamPodSandboxes",
                "--callers=2",
                "--seconds=0.05",
                "--warm-up=0.01",
                "--rounds=1",
                "--pods=0",
                "--pod-life=0",
                f"--json={tmp_path}/results.json",
            ]
        )
    finally:
        service.stop()
    assert code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [answer["bytes"] for answer in results["answers"]] == [0, 0]
    assert all(one["rate"] > 0 and one["failed"] == 0 for one in results["samples"])


def test_a_method_that_a_server_lacks_is_reported_as_such(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service(engine)
    service.start()
    try:
        arguments = [
            "--callers=2",
            "--seconds=0.05",
            "--warm-up=0.01",
            "--rounds=1",
            "--pods=0",
            "--pod-life=0",
        ]
        # There is no container to ask about.
        code = main(
            [f"--endpoint=it={service.endpoint}", "--calls=ContainerStatus,Version", *arguments]
        )
    finally:
        service.stop()
    lines = {
        line.split("|")[1].strip(): line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| ")
    }
    assert code == 0
    assert "INVALID_ARGUMENT" in lines["ContainerStatus"]
    assert "INVALID_ARGUMENT" not in lines["Version"]


def test_pods_that_come_and_go_are_counted() -> None:
    command = ("-m", "benchmarks.churn", "--pods=2", "--at-a-time=2", "--readings=1")
    ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    heads, row = (line.split() for line in ran.stdout.splitlines())
    assert (row[0], row[-3], row[-1]) == ("2", "0", "0"), dict(zip(heads, row, strict=False))


def test_what_cannot_be_measured_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--endpoint=gone=unix://{tmp_path}/gone.sock", "--pods=0", "--pod-life=0"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
