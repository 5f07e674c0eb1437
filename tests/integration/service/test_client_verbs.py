"""The client's verbs as their users type them, and the embedding example, against a real engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engine import BUSYBOX_IMAGE, Engine, eventually
from tests.harness.program import running
from tests.harness.service import Service

EXAMPLES = Path(__file__).parents[3] / "examples"


class Terminal:
    """Runs ``asupervisor VERB …`` against one service."""

    def __init__(self, service: Service, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "ASUPERVISOR_ENDPOINT": service.endpoint}

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", "asupervisor", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == code, result
        assert "Traceback" not in result.stderr
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json").stdout)


@pytest.fixture
def terminal(engine: Engine, directory: Path) -> Iterator[Terminal]:
    service = Service(engine, directory)
    service.start()
    try:
        yield Terminal(service, directory)
    finally:
        engine.remove_all()
        assert service.stop() == 0


def test_a_manifest_from_run_to_rm(terminal: Terminal) -> None:
    manifest = terminal.directory / "pod.yaml"
    manifest.write_text(
        (EXAMPLES / "pod.yaml").read_text().replace("asupervisor.example/busybox:1", BUSYBOX_IMAGE)
    )
    logs = ("--log-directory", str(terminal.directory / "logs"))

    assert "RuntimeReady:     true" in terminal.run("info").stdout
    assert f"{BUSYBOX_IMAGE} " in terminal.run("images").stdout
    assert "pod default/hello runs: " in terminal.run("run", "-d", str(manifest), *logs).stdout
    again = terminal.run("run", "-d", str(manifest), *logs, code=1)
    assert (
        again.stderr.startswith('asupervisor: there is a pod "default/hello"; remove it first')
        and again.stderr.count("\n") == 1
    )

    (pod,) = terminal.json("pods")
    assert (pod["metadata"]["name"], pod["state"]) == ("hello", "SANDBOX_READY")
    (container,) = terminal.json("ps")
    assert (container["metadata"]["name"], container["podSandboxId"]) == ("greeter", pod["id"])
    status = terminal.run("status", "hello").stdout
    assert "State:     Ready" in status and "greeter" in status and "Running" in status
    inspected = terminal.json("inspect", "hello/greeter")
    assert inspected["status"]["id"] == container["id"]

    result = terminal.run(
        "exec", "-s", "hello/greeter", "--", "sh", "-c", "echo out; echo err >&2; exit 3", code=3
    )
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert container["id"][:13] in terminal.run("stats", "hello").stdout

    followed: list[str] = []
    follower = threading.Thread(
        target=lambda: followed.append(terminal.run("logs", "-f", "hello/greeter").stdout)
    )
    follower.start()
    eventually(
        lambda: "line 1" in terminal.run("logs", "hello/greeter").stdout, "the container logs"
    )
    assert terminal.run("rm", "hello", code=1).stderr.startswith(
        'asupervisor: pod "hello" runs; stop it first'
    )
    terminal.run("stop", "hello")
    follower.join(30)
    (text,) = followed
    assert text.startswith("hello from hello at the node\nline 1\n") and text.endswith(
        "\ngoodbye\n"
    )
    assert terminal.run("logs", "--tail", "1", "hello/greeter").stdout == "goodbye\n"
    assert "Exited" in terminal.run("ps", "-a").stdout
    assert terminal.json("ps") == []
    terminal.run("rm", "hello")
    assert terminal.json("pods") == []


def test_a_container_that_cannot_start_takes_its_pod_with_it(terminal: Terminal) -> None:
    manifest = terminal.directory / "pod.yaml"
    manifest.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: broken}\nspec:\n  containers:\n"
        f"    - {{name: main, image: '{BUSYBOX_IMAGE}', command: [/no/such/program]}}\n"
    )
    failed = terminal.run(
        "run", str(manifest), "--log-directory", str(terminal.directory / "logs"), code=1
    )
    assert "/no/such/program" in failed.stderr
    assert terminal.json("pods") == []
    manifest.write_text(
        manifest.read_text().replace(
            BUSYBOX_IMAGE, "asupervisor.test/absent:1', imagePullPolicy: 'Never"
        )
    )
    failed = terminal.run(
        "run", str(manifest), "--log-directory", str(terminal.directory / "logs"), code=1
    )
    assert (
        failed.stderr
        == "asupervisor: asupervisor.test/absent:1 is not on the node and imagePullPolicy is"
        " Never\n"
    )


def test_the_verbs_of_containers_and_pods(terminal: Terminal) -> None:
    here = terminal.directory
    (here / "pod.json").write_text(
        '{"metadata": {"name": "by-hand", "namespace": "n", "uid": "1"}}'
    )
    (here / "container.json").write_text(
        json.dumps(
            {
                "metadata": {"name": "main"},
                "image": {"image": BUSYBOX_IMAGE},
                "command": ["sh", "-c", "while :; do sleep 0.1; done"],
            }
        )
    )
    pod_id = terminal.run("runp", str(here / "pod.json")).stdout.strip()
    files = (str(here / "container.json"), str(here / "pod.json"))
    container_id = terminal.run("create", "by-hand", *files).stdout.strip()
    assert terminal.run("ps", "-q").stdout == ""
    terminal.run("start", "by-hand/main")
    assert terminal.run("ps", "-q").stdout == f"{container_id}\n"
    assert terminal.run("ps", "-o", "wide", "--pod", "by-hand").stdout.count(container_id) == 1
    assert terminal.run("pods", "-o", "jsonpath={[*].id}").stdout == f"{pod_id}\n"
    assert f"id: {pod_id}" in terminal.run("pods", "-o", "yaml", "-n", "n").stdout
    for absent in (("-n", "other"), ("--name", "other"), ("-l", "app=other")):
        assert terminal.run("pods", "-q", *absent).stdout == ""

    (here / "file").write_text("there and back")
    terminal.run("cp", str(here / "file"), "by-hand/main:/tmp/")
    terminal.run("cp", "by-hand:/tmp/file", str(here / "back"))
    assert (here / "back").read_text() == "there and back"
    terminal.run("cp", str(here / "file"), str(here / "back"), code=2)
    terminal.run("update", "by-hand/main", code=2)
    terminal.run("update", "by-hand/main", "--memory", "64Mi", "--cpu", "500m")
    limits = terminal.json("inspect", container_id)["status"]["resources"]["linux"]
    assert (limits["memoryLimitInBytes"], limits["cpuQuota"]) == (str(64 << 20), "50000")
    assert "1 pods ready, 1 containers" in terminal.run("top").stdout
    assert "container_" in terminal.run("metrics", "by-hand").stdout
    terminal.run("checkpoint", "by-hand/main", "--export", "relative", code=2)
    terminal.run("pods", "-l", "novalue", code=2)

    terminal.run("stopp", "by-hand", "--grace", "0")
    assert terminal.run("prune").stdout == "pod n/by-hand\n"
    assert terminal.json("pods") == []


def test_lists_and_events_are_shown_as_things_change(terminal: Terminal) -> None:
    (terminal.directory / "pod.json").write_text(
        '{"metadata": {"name": "seen", "namespace": "default", "uid": "1"}}'
    )
    for verb in (["events"], ["pods", "--watch"]):
        with running(
            [sys.executable, "-m", "asupervisor", *verb],
            env=terminal.environment,
            stdout=subprocess.PIPE,
        ) as follower:
            assert follower.stdout is not None
            output = follower.stdout.fileno()
            os.set_blocking(output, False)
            shown = bytearray()

            def told(output: int = output, shown: bytearray = shown) -> bool:
                pod_id = terminal.run("runp", str(terminal.directory / "pod.json")).stdout.strip()
                terminal.run("rm", "-f", pod_id)
                with contextlib.suppress(BlockingIOError):
                    shown.extend(os.read(output, 65536))
                return pod_id[:13].encode() in shown

            eventually(told, "it is shown, once the subscription stands")
            follower.send_signal(signal.SIGINT)
            assert follower.wait(20) == 130


def test_what_is_not_there_is_one_line(terminal: Terminal) -> None:
    for arguments, line in (
        (("status", "nope"), 'no pod "nope"'),
        (("logs", "nope/main"), 'no pod "nope"'),
        (
            ("exec", "-s", "deadbeef", "--", "ls"),
            'no container "deadbeef"; name it as POD/CONTAINER or by the start of its id',
        ),
        (("stop", "nope"), 'no pod and no container "nope"'),
        (("inspect", "nope"), 'no pod, container or image "nope"'),
    ):
        assert terminal.run(*arguments, code=1).stderr == f"asupervisor: {line}\n"
    assert (
        terminal.run("run", "/no/such/file", code=2).stderr
        == "asupervisor: /no/such/file cannot be read: No such file or directory\n"
    )


def test_the_embedding_example(engine: Engine, directory: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "embed.py"),
            engine.endpoint,
            str(directory),
            BUSYBOX_IMAGE,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == ["exit code: 0", "stopped"]
    assert result.stdout.startswith(
        f"serving the CRI at unix://{directory}/cri.sock; Docker Engine "
    )
    assert engine.containers() == []
