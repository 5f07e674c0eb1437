"""The commands of README.md by hand, after ``make run``: without a registry, and with one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.harness.documented import ROOT, shown
from tests.harness.engine import Engine
from tests.harness.registry import BuiltImage, Registry
from tests.harness.service import Service

IMAGE = "asupervisor.example/busybox:1"
AGAIN = "again"
"""Names the pod whose image comes from a registry."""
PULLED = "docker.io/library/busybox:1.36"


def commands(with_registry: bool) -> list[str]:
    """Of the section on trying it: what needs a registry, or what does not."""
    lines = shown("README.md")
    lines = lines[lines.index("make image") : lines.index("make deb")]
    return [line for line in lines if (AGAIN in line) is with_registry]


def make_target(name: str) -> str:
    """What the Makefile runs for a target, after its set-up."""
    (body,) = re.findall(rf"^{name}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    return str(body.splitlines()[-1].strip("\t@"))


def run(command: str, service: Service, logs: Path) -> str:
    """As typed, but that it ends by itself and leaves the machine's own logs alone."""
    environment = os.environ | {"ASUPERVISOR_ENDPOINT": service.endpoint}
    environment.pop("CONTAINER_RUNTIME_ENDPOINT", None)
    command = command.replace("$(BIN)/python", sys.executable)
    command = command.replace(".venv/bin/asupervisor", f"{sys.executable} -m asupervisor")
    command = command.replace("exec -it", "exec").replace("-- sh", "-- hostname")
    command = command.replace("logs -f", "logs")  # it would follow for as long as the pod runs
    if " run " in command:
        command += f" --log-directory {logs}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_they_work_in_order(engine: Engine, tmp_path: Path) -> None:
    service = Service(engine, tmp_path / "s")
    service.start()
    try:
        first, *rest = commands(with_registry=False)
        assert first == "make image"
        assert IMAGE in run(make_target("image"), service, tmp_path / "logs")
        outputs = [run(command, service, tmp_path / "logs") for command in rest]
    finally:
        assert service.stop() == 0
        engine.request("DELETE", f"/images/{IMAGE}?force=1")  # where the last command did not
    assert "pod default/hello runs" in outputs[0]
    assert re.search(r"greeter +\w+ +Running", outputs[1])
    assert outputs[3] == "hello\n"
    assert outputs[-1] == f"{IMAGE}\n"
    assert engine.containers() == []


def test_with_a_registry_in_reach(engine: Engine, tmp_path: Path) -> None:
    service = Service(engine, tmp_path / "s")
    with Registry() as registry:
        image = registry.push("library/busybox", ("1.36",), BuiltImage())
        service.start()
        try:
            start, remove = commands(with_registry=True)
            assert PULLED in start
            said = run(start.replace(PULLED, image), service, tmp_path / "logs")
            assert "pod default/again runs" in said
            assert run(remove, service, tmp_path / "logs") == "again\n"
            engine.request("DELETE", f"/images/{image}?force=1")
        finally:
            assert service.stop() == 0
    assert engine.containers() == []


def test_without_the_image_it_is_said_at_once(engine: Engine, tmp_path: Path) -> None:
    service = Service(engine, tmp_path / "s")
    service.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "asupervisor", "run", "examples/pod.yaml"],
            cwd=ROOT,
            env=os.environ | {"ASUPERVISOR_ENDPOINT": service.endpoint},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        assert service.stop() == 0
    assert done.returncode == 1
    assert done.stderr.startswith(f"asupervisor: {IMAGE} is not on the node")
