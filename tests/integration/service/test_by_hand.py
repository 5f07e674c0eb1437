"""The commands of the README by hand, after ``make run``: with no registry in reach."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.harness.engine import Engine
from tests.harness.service import Service

ROOT = Path(__file__).parents[3]
IMAGE = "asupervisor.example/busybox:1"


def commands() -> list[str]:
    """Of the section on trying it, comments left out; without what needs a registry."""
    section = (ROOT / "README.md").read_text().partition("## Try it\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    return [
        line.split(" #")[0].strip()
        for block in blocks
        if "docker.io/" not in block
        for line in block.splitlines()
    ]


def make_target(name: str) -> str:
    """What the Makefile runs for a target, after its set-up."""
    (body,) = re.findall(rf"^{name}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    return str(body.splitlines()[-1].strip("\t@"))


def test_they_work_in_order(engine: Engine, tmp_path: Path) -> None:
    service = Service(engine, tmp_path / "s")
    service.start()
    environment = os.environ | {"ASUPERVISOR_ENDPOINT": service.endpoint}
    environment.pop("CONTAINER_RUNTIME_ENDPOINT", None)
    python = Path(sys.executable)

    def run(command: str) -> str:
        command = command.replace("$(BIN)/python", str(python))
        command = command.replace(".venv/bin/asupervisor", f"{python} -m asupervisor")
        command = command.replace("exec -it", "exec").replace("-- sh", "-- hostname")
        command = command.replace("logs -f", "logs")  # it would follow for as long as the pod runs
        if " run " in command:
            command += f" --log-directory {tmp_path / 'logs'}"
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

    try:
        first, *rest = commands()
        assert first == "make image"
        assert IMAGE in run(make_target("image"))
        outputs = [run(command) for command in rest]
    finally:
        assert service.stop() == 0
        engine.request("DELETE", f"/images/{IMAGE}?force=1")  # where the last command did not
    assert "pod default/hello runs" in outputs[0]
    assert re.search(r"greeter +\w+ +Running", outputs[1])
    assert outputs[3] == "hello\n"
    assert outputs[-1] == f"{IMAGE}\n"
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
