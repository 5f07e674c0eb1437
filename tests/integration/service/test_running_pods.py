"""``asupervisor run`` in the foreground, as people type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import SLEEPER
from tests.harness.program import running
from tests.harness.service import Service, running_service


@pytest.fixture(scope="module")
def service(engine: Engine) -> Iterator[Service]:
    with running_service(engine) as started:
        yield started


@pytest.fixture
def command(service: Service, tmp_path: Path) -> Iterator[list[str]]:
    """The beginning of each; no pod may be left."""
    program = [sys.executable, "-m", "asupervisor", "-r", service.endpoint]
    yield [*program, "run", "--log-directory", str(tmp_path / "logs")]
    left = subprocess.run([*program, "pods", "-q"], capture_output=True, text=True, check=True)
    assert left.stdout == "" and list(tmp_path.glob("logs/*")) == []


def manifest(directory: Path, name: str, **spec: object) -> str:
    container = {"name": "main", "image": BUSYBOX_IMAGE, "command": list(SLEEPER)}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "schedulerName": "mine", **spec},
    }
    file = directory / "pod.json"
    file.write_text(json.dumps(document))
    return str(file)


def test_it_stays_until_it_is_told_to_stop(command: list[str], tmp_path: Path) -> None:
    file = manifest(tmp_path, "stays-here")
    with running(
        [*command, "--rm", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        assert program.stdout.readline().startswith(b"pod default/stays-here runs: ")
        assert program.stdout.readline().startswith(b"  main: ")
        program.send_signal(signal.SIGINT)
        assert program.wait(120) == 0
        errors = program.stderr.read().decode()
    assert "stopping; once more to stop at once" in errors
    assert "ignored, since nothing here does it: spec.schedulerName" in errors


def test_it_leaves_and_says_what_nobody_does(
    command: list[str], tmp_path: Path, service: Service
) -> None:
    file = manifest(tmp_path, "left-alone")
    done = subprocess.run([*command, "-d", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("pod default/left-alone runs: ")
    assert "nobody probes or restarts containers from here on: default/left-alone" in done.stderr
    removal = [*command[:5], "rm", "-f", "left-alone"]
    assert subprocess.run(removal, capture_output=True, check=False).returncode == 0
    for log in (tmp_path / "logs").rglob("*.log"):
        log.unlink()
    for directory in sorted((tmp_path / "logs").rglob("*"), reverse=True):
        directory.rmdir()


def test_one_command_in_an_image(command: list[str]) -> None:
    script = "echo out; echo err >&2; exit 3"
    done = subprocess.run(
        [*command, "--rm", BUSYBOX_IMAGE, "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_input_goes_in(command: list[str]) -> None:
    done = subprocess.run(
        [
            *command,
            "--rm",
            "-i",
            "--name",
            "fed",
            BUSYBOX_IMAGE,
            "--",
            "sh",
            "-c",
            "read a; echo $a",
        ],
        input="word\n",
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "word\n", "")


def test_a_manifest_has_its_own_command(command: list[str], tmp_path: Path) -> None:
    file = manifest(tmp_path, "refused")
    done = subprocess.run([*command, file, "--", "sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "are for an image" in done.stderr
