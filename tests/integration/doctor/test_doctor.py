"""The command on a node with a real engine and a real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engine import Engine
from tests.harness.fake_engine import FakeEngine
from tests.harness.service import Service

ARGUMENTS = [sys.executable, "-m", "asupervisor", "doctor", "-o", "json", "--timeout", "10s"]


def doctor(endpoint: str, *arguments: str, code: int | None = None) -> dict[str, dict[str, Any]]:
    """The worst finding of each check."""
    command = [*ARGUMENTS, "--endpoint", endpoint, *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in told.stderr, told.stderr
    document = json.loads(told.stdout)
    levels = ["ok", "warning", "error"]
    assert told.returncode == levels.index(document["level"])
    assert document["level"] == max((one["level"] for one in document["checks"]), key=levels.index)
    if code is not None:
        assert told.returncode == code, told.stdout
    found: dict[str, dict[str, Any]] = {}
    for one in document["checks"]:
        assert bool(one["remedy"]) is (one["level"] != "ok"), one
        assert "this check failed" not in one["message"], one
        before = found.get(one["check"])
        if before is None or levels.index(one["level"]) > levels.index(before["level"]):
            found[one["check"]] = one
    return found


def without_service(directory: Path, engine: str, *flags: str, **options: Any) -> dict[str, Any]:
    root = ("--root-directory", str(directory / "root"))
    return doctor(
        f"unix://{directory}/cri.sock",
        "--kubelet-config",
        str(directory / "kubelet.yaml"),
        "--",
        *("--docker-endpoint", engine, "--network-plugin", "no-op"),
        *root,
        *flags,
        **options,
    )


def test_of_a_service_that_runs_it_knows_the_settings(engine: Engine, directory: Path) -> None:
    service = Service(engine, directory)
    service.start()
    try:
        found = doctor(service.endpoint)
    finally:
        assert service.stop() == 0
    assert found["service"]["level"] == "ok"
    assert found["engine"]["level"] == "ok" and engine.endpoint in found["engine"]["message"]
    assert "cni" not in found, "it runs with no-op"
    assert str(service.root) in found["disk-state"]["message"]


def test_its_reasons_of_not_ready_are_told(directory: Path) -> None:
    service = Service(None, directory, docker_endpoint=f"unix://{directory}/none.sock")
    service.start(ready=False)
    try:
        found = doctor(service.endpoint, code=2)
    finally:
        assert service.stop() == 0
    assert "RuntimeReady is false, EngineNotRunning" in found["service"]["message"]
    assert "EngineNotRunning" in found["engine"]["message"]
    assert "systemctl start docker" in found["engine"]["remedy"]


def test_without_a_service_and_against_kubelets_configuration(
    engine: Engine, directory: Path
) -> None:
    has = engine.request("GET", "/info")[1]["CgroupDriver"]
    other = "systemd" if has == "cgroupfs" else "cgroupfs"
    (directory / "kubelet.yaml").write_text(
        f"kind: KubeletConfiguration\ncgroupDriver: {other}\n"
        "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n"
    )
    found = without_service(directory, engine.endpoint, code=2)
    assert found["service"]["level"] == "warning"
    assert f'the engine uses "{has}"' in found["cgroup-driver"]["message"]
    assert found["cgroup-driver"]["level"] == "error"
    assert "kubelet speaks to unix:///run/containerd" in found["cri-socket"]["message"]


@contextmanager
def an_engine(*arguments: str) -> Iterator[Engine]:
    running = Engine(arguments=("--iptables=false", *arguments))
    running.start()
    try:
        yield running
    finally:
        running.destroy()


def test_an_engine_that_is_set_up_badly(engine: Engine, directory: Path) -> None:
    slow = "native" if engine.containerd_store else "vfs"
    with an_engine(f"--storage-driver={slow}", "--log-driver=none") as engine:
        (directory / "root").mkdir()
        (directory / "root" / "engine-store").write_text('{"now": "overlay2 in /old"}')
        found = without_service(directory, engine.endpoint, code=2)
        assert found["storage-driver"]["level"] == "warning"
        assert found["log-driver"]["level"] == "error"
        assert found["live-restore"]["level"] == "warning"
        assert found["image-store"]["level"] == "error"
        assert "overlay2 in /old" in found["image-store"]["message"]
        assert str(engine.root / "data") in found["disk-images"]["message"]


def test_an_engine_that_hangs(directory: Path) -> None:
    with an_engine() as engine:
        engine.signal(signal.SIGSTOP)
        try:
            found = without_service(directory, engine.endpoint, code=2)
        finally:
            engine.signal(signal.SIGCONT)
    assert "EngineNotAnswering" in found["engine"]["message"]
    assert "live-restore" not in found and found["clock"]["level"] != "error"


def test_an_engine_that_is_too_old(directory: Path) -> None:
    with FakeEngine(directory / "old.sock", api_version="1.40") as fake:
        found = without_service(directory, fake.endpoint, code=2)
    assert "EngineUnsuitable" in found["engine"]["message"]


def test_it_changes_nothing_and_leaves_no_process(engine: Engine, directory: Path) -> None:
    def state() -> tuple[object, ...]:
        files = sorted((str(one), one.lstat().st_mtime_ns) for one in directory.rglob("*"))
        sysctl = Path("/proc/sys/net/ipv4/ip_forward").read_text()
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True)
        lines = [line for line in rules.stdout.splitlines() if line.startswith(("-A", "*"))]
        return files, sysctl, lines, engine.containers()

    before = state()
    without_service(directory, engine.endpoint)
    assert state() == before


def no_service(engine: Engine, directory: Path) -> list[str]:
    flags = ["--docker-endpoint", engine.endpoint, "--network-plugin", "no-op"]
    return ["--endpoint", f"unix://{directory}/cri.sock", "--", *flags]


def test_without_root_it_says_what_it_could_not_look_at(engine: Engine, directory: Path) -> None:
    source = Path(__file__).parents[3]
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *ARGUMENTS]
    probe = subprocess.run([*command[:4], sys.executable, "-c", "import asupervisor"], check=False)
    if probe.returncode:
        pytest.skip(f"another user cannot import what is in {source}")
    directory.chmod(0o755)
    engine.socket.chmod(0o600)
    told = subprocess.run(
        [*command, *no_service(engine, directory)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert "Traceback" not in told.stderr
    found = {one["check"]: one for one in json.loads(told.stdout)["checks"]}
    assert found["engine"]["level"] == "warning", found["engine"]
    assert "run this as root" in found["engine"]["remedy"]
    assert found["cgroups"]["level"] in ("ok", "warning")


def test_in_words(engine: Engine, directory: Path) -> None:
    command = [one for one in ARGUMENTS if one not in ("-o", "json")]
    told = subprocess.run(
        [*command, *no_service(engine, directory)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = told.stdout.splitlines()
    assert lines[0].split()[:2] == ["warning", "service"] and "->" in lines[1]
    assert lines[-1].endswith("warnings") and told.returncode in (1, 2)
