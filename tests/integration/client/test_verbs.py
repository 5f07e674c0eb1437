"""The client's verbs as their users type them, and the embedding example."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asupervisor import __version__
from tests.harness.engine import BUSYBOX_IMAGE, Engine, eventually
from tests.harness.program import running
from tests.harness.registry import BuiltImage, Registry

NOT_IMPLEMENTED = re.compile(r"method \w+ not implemented")
"""What another server says of what it does not have."""
EXAMPLES = Path(__file__).parents[3] / "examples"


class Terminal:
    """Runs ``asupervisor VERB …`` against one server."""

    def __init__(self, endpoint: str, directory: Path, is_peer: bool) -> None:
        self.directory = directory
        self.is_peer = is_peer
        self.endpoint = endpoint
        self.environment = {**os.environ, "ASUPERVISOR_ENDPOINT": endpoint}

    def run(
        self, *arguments: str, code: int = 0, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", "asupervisor", *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in result.stderr
        if self.is_peer and result.returncode == 1 and NOT_IMPLEMENTED.search(result.stderr):
            pytest.skip(result.stderr)
        assert result.returncode == code, result
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    @contextlib.contextmanager
    def running(self, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A verb that goes on until it is told to end."""
        command = [sys.executable, "-m", "asupervisor", *arguments]
        with running(command, env=self.environment, stdout=subprocess.PIPE, **options) as program:
            yield program

    @contextlib.contextmanager
    def pod(self, name: str, *command: str, **fields: object) -> Iterator[str]:
        """A pod with the container ``main``, made by ``runp``, ``create`` and ``start``; its id."""
        # Without `linux`, cri-dockerd leaves a container on a network of its own.
        metadata = {"name": name, "namespace": "verbs", "uid": f"uid-{name}"}
        sandbox = {"metadata": metadata, "linux": {}}
        container = {
            "metadata": {"name": "main"},
            "image": {"image": BUSYBOX_IMAGE},
            "command": list(command or ("sh", "-c", "while :; do sleep 0.1; done")),
            "linux": {},
            **fields,
        }
        files = (self.directory / f"{name}-pod.json", self.directory / f"{name}.json")
        for file, document in zip(files, (sandbox, container), strict=True):
            file.write_text(json.dumps(document))
        pod_id = self.run("runp", str(files[0])).stdout.strip()
        try:
            self.run("create", name, str(files[1]), str(files[0]))
            self.run("start", f"{name}/main")
            yield pod_id
        finally:
            if pod_id in self.run("pods", "-q").stdout:
                self.run("rm", "-f", pod_id)


@pytest.fixture
def terminal(endpoint: str, directory: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    is_peer = bool(request.config.getoption("--cri-endpoint"))
    yield (terminal := Terminal(endpoint, directory, is_peer))
    assert terminal.run("pods", "-q").stdout == "", "a pod was left behind"


def test_a_manifest_from_run_to_rm(terminal: Terminal) -> None:
    manifest = terminal.directory / "pod.yaml"
    manifest.write_text(
        (EXAMPLES / "pod.yaml").read_text().replace("asupervisor.example/busybox:1", BUSYBOX_IMAGE)
    )
    logs = ("--log-directory", str(terminal.directory / "logs"))

    assert "RuntimeReady: true" in " ".join(terminal.run("info").stdout.split())
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
    with terminal.pod("by-hand") as pod_id:
        container_id = terminal.run("ps", "-q").stdout.strip()
        assert terminal.run("ps", "-o", "wide", "--pod", "by-hand").stdout.count(container_id) == 1
        assert terminal.run("pods", "-o", "jsonpath={[*].id}").stdout == f"{pod_id}\n"
        assert f"id: {pod_id}" in terminal.run("pods", "-o", "yaml", "-n", "verbs").stdout
        for absent in (("-n", "other"), ("--name", "other"), ("-l", "app=other")):
            assert terminal.run("pods", "-q", *absent).stdout == ""
        assert terminal.json("inspectp", "by-hand")["status"]["id"] == pod_id

        (here / "file").write_text("there and back")
        terminal.run("cp", str(here / "file"), "by-hand/main:/tmp/")
        terminal.run("cp", "by-hand:/tmp/file", str(here / "back"))
        assert (here / "back").read_text() == "there and back"
        terminal.run("cp", str(here / "file"), str(here / "back"), code=2)
        terminal.run("update", "by-hand/main", code=2)
        terminal.run("update", "by-hand/main", "--memory", "64Mi", "--cpu", "500m")
        status = terminal.json("inspect", container_id)["status"]
        if "resources" in status or not terminal.is_peer:
            limits = status["resources"]["linux"]
            assert (limits["memoryLimitInBytes"], limits["cpuQuota"]) == (str(64 << 20), "50000")
        terminal.run("checkpoint", "by-hand/main", "--export", "relative", code=2)
        terminal.run("pods", "-l", "novalue", code=2)

        failed = terminal.run("rm", "by-hand/main", code=1).stderr
        assert failed == 'asupervisor: "by-hand/main" runs; stop it first, or give --force\n'
        terminal.run("stop", "by-hand/main", "--grace", "0")
        terminal.run("rm", "by-hand/main")
        assert terminal.run("ps", "-a", "-q").stdout == ""
        terminal.run("stopp", "by-hand", "--grace", "0")
        assert terminal.run("prune").stdout == "pod verbs/by-hand\n"
    assert terminal.json("pods") == []


@pytest.mark.parametrize(
    ("verb", "part"),
    [
        ("top", "1 pods ready, 1 containers"),
        ("stats", "main"),
        ("statsp", "main"),
        ("metrics", "container_"),
    ],
)
def test_what_containers_use(terminal: Terminal, verb: str, part: str) -> None:
    with terminal.pod("used"):
        assert part in terminal.run(verb, *(() if verb == "top" else ("used",))).stdout


def test_what_is_known_of_the_server(terminal: Terminal) -> None:
    conditions = terminal.json("info")["status"]["conditions"]
    assert {each["type"]: each["status"] for each in conditions}["RuntimeReady"] is True
    assert f"asupervisor {__version__}\n" in terminal.run("version").stdout
    assert terminal.json("version")["runtimeApiVersion"] == "v1"
    assert terminal.json("config")["runtime-endpoint"] == terminal.endpoint
    assert terminal.run("completion").stdout.endswith(" -F _asupervisor asupervisor\n")


def test_images_come_and_go(terminal: Terminal, registry: Registry) -> None:
    name = registry.push("verbs/pulled", ("1",), BuiltImage())
    reference = terminal.run("pull", name).stdout.strip()
    assert name in terminal.run("img").stdout
    assert terminal.json("inspecti", reference)["image"]["repoTags"] == [name]
    assert terminal.run("rmi", reference).stdout == f"{reference}\n"
    assert "no pod, container or image" in terminal.run("inspect", reference, code=1).stderr


def test_input_output_and_ports(terminal: Terminal) -> None:
    serve = "mkdir /www; echo served >/www/index.html; httpd -p 8088 -h /www; exec cat"
    with terminal.pod("joined", "sh", "-c", serve, stdin=True):
        script = "cat; echo bad >&2; exit 7"
        for way in ("spdy", "websocket"):
            arguments = ("exec", "joined/main", "-i", "--transport", way, "--", "sh", "-c", script)
            if way == "websocket" and terminal.is_peer:
                # Its WebSocket has no end of input, which is said before the command starts.
                assert "try SPDY" in terminal.run(*arguments, code=1, given="text\n").stderr
                continue
            result = terminal.run(*arguments, code=7, given="text\n" * 10_000)
            assert (result.stdout, result.stderr) == ("text\n" * 10_000, "bad\n")
        with terminal.running("attach", "-i", "joined/main", stdin=subprocess.PIPE) as attached:
            assert attached.stdin is not None and attached.stdout is not None
            attached.stdin.write(b"hello\n")
            attached.stdin.flush()
            assert attached.stdout.readline() == b"hello\n"
            attached.send_signal(signal.SIGINT)
            assert attached.wait(60) == 128 + signal.SIGINT
        with terminal.running("port-forward", "joined", ":8088") as forwarder:
            assert forwarder.stdout is not None
            port = int(forwarder.stdout.readline().split()[2].rsplit(b":", 1)[1])

            def answer() -> bytes:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                    connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                    return b"".join(iter(lambda: connection.recv(65536), b""))

            eventually(lambda: answer().endswith(b"served\n"), "the pod's answer")
            forwarder.terminate()
            assert forwarder.wait(60) == 0


@pytest.mark.parametrize("verb", ["events", "pods --watch", "ps -a --watch"])
def test_what_changes_is_shown(terminal: Terminal, verb: str) -> None:
    with terminal.running(*verb.split()) as follower:
        assert follower.stdout is not None
        output = follower.stdout.fileno()
        os.set_blocking(output, False)
        shown = bytearray()

        def told() -> bool:
            assert follower.poll() is None, "it goes on"
            with terminal.pod("seen", "true") as pod_id:
                container_id = terminal.run("ps", "-a", "-q").stdout.strip()
            with contextlib.suppress(BlockingIOError):
                shown.extend(os.read(output, 65536))
            return any(each[:13].encode() in shown for each in (pod_id, container_id))

        eventually(told, "it is shown, once the subscription stands", 120)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 130


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
    said = result.stdout.splitlines()[-3:]
    assert said == ["hello from a pod", "exit code: 0", "stopped"]
    assert result.stdout.startswith(
        f"serving the CRI at unix://{directory}/cri.sock; Docker Engine "
    )
    assert engine.containers() == []
