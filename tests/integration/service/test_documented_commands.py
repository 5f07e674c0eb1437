"""Commands of the other pages, as they stand there, but that a program ends by itself."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.harness.documented import ROOT, shown
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.program import running
from tests.harness.service import Service, running_service

DOCTOR = shown("docs/doctor.md")
SIMULATE = [line for line in shown("docs/reliability.md") if line.startswith("python ")]
MOVES = [line for line in shown("docs/kubernetes.md") if line.startswith("sed ")]
EXEC, ATTACH, FORWARD = shown("docs/streaming.md")
KUBELET = """set -e
mount --make-rprivate /
mount -t tmpfs none /var/lib
mkdir /var/lib/kubelet; cd /var/lib/kubelet
echo 'containerRuntimeEndpoint: unix:///run/before.sock' | tee config.yaml >instance-config.yaml
echo 'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/before.sock --v=2"' \\
    >kubeadm-flags.env
"""
POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: documented}}
spec:
  restartPolicy: Never
  containers:
    - {{name: reader, image: "{BUSYBOX_IMAGE}", stdin: true, stdinOnce: true, command: [cat]}}
    - {{name: web, image: "{BUSYBOX_IMAGE}", command: [busybox, httpd, -f, -h, /etc, -p, "80"]}}
"""


def words(command: str) -> list[str]:
    """Of a command, run from these sources."""
    first, *rest = shlex.split(command)
    return [sys.executable, *([] if first == "python" else ["-m", first]), *rest]


def run(command: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(command),
        input=text,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("command", DOCTOR)
def test_doctor_looks_at_this_machine(command: str) -> None:
    said = run(command, ASUPERVISOR_ENDPOINT="unix:///run/asupervisor.sock")
    assert said.returncode in (0, 1, 2) and said.stderr == ""
    if "-o json" in command:
        checks = {one["check"] for one in json.loads(said.stdout)["checks"]}
        assert {"service", "engine", "cgroups"} <= checks
    else:
        assert said.stdout.splitlines()[-1].endswith("warnings")
    assert "--network-plugin cni" not in command or " cni " in said.stdout


@pytest.mark.parametrize("command", SIMULATE)
def test_one_seed_of_the_simulator(command: str) -> None:
    said = run(command, PYTHONHASHSEED="0")
    assert said.returncode == 0, said.stdout[-4000:] + said.stderr[-2000:]


@pytest.mark.parametrize("command", MOVES)
def test_kubelet_is_pointed_at_another_socket(command: str) -> None:
    after = "containerd/containerd" if "containerd.sock" in command else "asupervisor"
    *_, first = [word for word in shlex.split(command) if word.startswith("/var/lib/kubelet/")]
    script = f"{KUBELET}{command}\ncat {first}"
    said = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert f"unix:///run/{after}.sock" in said.stdout
    assert "before.sock" not in said.stdout


@pytest.fixture(scope="module")
def service(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a pod whose names stand where the page has POD and CONTAINER."""
    directory = tmp_path_factory.mktemp("documented")
    (directory / "pod.yaml").write_text(POD)
    with running_service(engine) as service:
        endpoint = {"ASUPERVISOR_ENDPOINT": service.endpoint}
        file, logs = directory / "pod.yaml", directory / "logs"
        said = run(f"asupervisor run -d {file} --log-directory {logs}", **endpoint)
        assert said.returncode == 0, said.stderr
        yield service
        assert run("asupervisor rm -f documented", **endpoint).returncode == 0


def in_pod(command: str) -> str:
    return command.replace("POD/CONTAINER", "documented/reader").replace("POD", "documented")


def test_exec(service: Service) -> None:
    command = in_pod(EXEC).replace("-it", "-i")  # a test has no terminal
    said = run(command, "hostname\n", ASUPERVISOR_ENDPOINT=service.endpoint)
    assert (said.returncode, said.stdout) == (0, "documented\n"), said.stderr


def test_port_forward(service: Service) -> None:
    environment = {**os.environ, "ASUPERVISOR_ENDPOINT": service.endpoint}
    command = words(in_pod(FORWARD))
    with running(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"Forwarding from 127.0.0.1:8080 -> 80\n"
        assert process.stdout.readline().endswith(b" -> 443\n")
        with urllib.request.urlopen("http://127.0.0.1:8080/hostname", timeout=60) as answer:
            assert answer.read() == b"documented\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_attach(service: Service) -> None:
    said = run(in_pod(ATTACH), "typed\n", ASUPERVISOR_ENDPOINT=service.endpoint)
    assert (said.returncode, said.stdout) == (0, "typed\n"), said.stderr
