"""Faults of sockets and ports, and what other shims left."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asupervisor.config import StreamingConfig
from asupervisor.doctor import shims, sockets
from asupervisor.doctor.finding import Level
from asupervisor.doctor.node import Node
from tests.harness.made_node import MadeNode, assert_finds, only


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    return MadeNode(tmp_path)


@contextmanager
def listening(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as somebody:
        somebody.bind(str(path))
        somebody.listen()
        yield


def test_a_place_that_is_free(made: MadeNode) -> None:
    assert_finds(only(sockets.cri_socket(made.node)), Level.OK, "no process listens")
    assert_finds(only(sockets.service(made.node)), Level.WARNING, "no service answers")
    assert_finds(only(sockets.ports(made.node)), Level.OK)
    made.config["runtime_endpoint"] = "fd://"
    assert_finds(only(sockets.cri_socket(made.node)), Level.OK, "systemd's")


def test_a_file_in_the_place_of_the_socket(made: MadeNode) -> None:
    made.write("cri.sock", "")
    assert_finds(only(sockets.cri_socket(made.node)), Level.ERROR, "is not a socket")


def test_a_socket_that_is_left(made: MadeNode) -> None:
    with listening(made.root / "cri.sock"):
        pass
    assert_finds(only(sockets.cri_socket(made.node)), Level.WARNING, "left of a service that ended")


def test_a_directory_that_is_not_there(made: MadeNode) -> None:
    made.config["runtime_endpoint"] = f"unix://{made.root}/none/cri.sock"
    assert_finds(only(sockets.cri_socket(made.node)), Level.ERROR, "no directory", "none")


def test_a_path_that_is_too_long(made: MadeNode) -> None:
    made.config["runtime_endpoint"] = f"unix:///run/{'x' * 120}"
    assert_finds(only(sockets.cri_socket(made.node)), Level.ERROR, "longer than 107 bytes")


def test_somebody_elses_socket(made: MadeNode) -> None:
    made.write(f"proc/{os.getpid()}/comm", "cri-dockerd\n")
    with listening(made.root / "cri.sock"):
        found = only(sockets.cri_socket(made.node))
    assert_finds(found, Level.ERROR, "cri-dockerd (process")


def test_a_socket_for_everybody(made: MadeNode) -> None:
    with listening(made.root / "cri.sock"):
        (made.root / "cri.sock").chmod(0o666)
        assert_finds(only(sockets.cri_socket(made.node)), Level.WARNING, "every user may use")


def test_a_kubelet_that_speaks_to_somebody_else(made: MadeNode) -> None:
    made.kubelet["containerRuntimeEndpoint"] = "unix:///run/containerd/containerd.sock"
    found = only(sockets.cri_socket(made.node))
    assert_finds(found, Level.ERROR, "kubelet speaks to unix:///run/containerd/containerd.sock")
    made.kubelet["containerRuntimeEndpoint"] = f"unix://{made.root}/../{made.root.name}/cri.sock"
    assert_finds(only(sockets.cri_socket(made.node)), Level.OK)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [("EngineNotRunning", "systemctl start docker"), ("OfALaterVersion", "service's log")],
)
def test_what_the_service_says_of_itself(made: MadeNode, reason: str, remedy: str) -> None:
    node = made.node
    node.service_pid = 7
    assert_finds(only(sockets.service(node)), Level.OK, "ready")
    node.service_conditions = [("RuntimeReady", reason, "it is away")]
    found = only(sockets.service(node))
    assert_finds(found, Level.ERROR, f"RuntimeReady is false, {reason}: it is away")
    assert remedy in found.remedy


def test_a_service_that_does_not_answer(made: MadeNode) -> None:
    node = made.node
    node.service_problem = "it hangs"
    assert_finds(only(sockets.service(node)), Level.ERROR, "does not answer: it hangs")


def test_a_port_that_is_taken(made: MadeNode) -> None:
    made.write("proc/net/tcp", "  sl\n   0: 0100007F:2387 00000000:0000 0A 0 0\n nonsense\n")
    made.config["metrics_bind_address"] = "127.0.0.1:9095"
    found = only(sockets.ports(made.node))
    assert_finds(found, Level.ERROR, "--metrics-bind-addr", "port 9095")
    made.service_pid = 7
    assert_finds(only(sockets.ports(made.node)), Level.OK)


def test_streams_without_tls_for_everybody(made: MadeNode) -> None:
    made.config["streaming"] = StreamingConfig(bind_host="0.0.0.0")
    assert_finds(only(sockets.ports(made.node)), Level.WARNING, "0.0.0.0", "without TLS")


async def test_another_shim_runs(made: MadeNode) -> None:
    assert_finds(only(await shims.running(made.node)), Level.OK)
    made.write("proc/4711/comm", "cri-dockerd\n")
    found = only(await shims.running(made.node))
    assert_finds(found, Level.ERROR, "cri-dockerd runs too (process 4711)")
    assert "systemctl disable --now cri-docker.socket" in found.remedy


def second_service(made: MadeNode, *words: str, environment: str = "") -> None:
    made.write("proc/4712/cmdline", "".join(f"{word}\0" for word in words))
    made.write("proc/4712/environ", environment)
    made.write("proc/4712/root/run/engine.sock", "")
    made.config["docker_endpoint"] = "unix:///run/engine.sock"
    if not (made.root / "run").exists():
        (made.root / "run").symlink_to(made.root / "proc/4712/root/run")


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (("/usr/bin/asupervisor", "--docker-endpoint", "unix:///run/engine.sock"), ""),
        (("python3", "-P", "-m", "asupervisor", "--docker-endpoint=/run/engine.sock"), ""),
        (("python3", "/opt/asupervisor"), "A=\0ASUPERVISOR_DOCKER_ENDPOINT=/run/engine.sock\0"),
    ],
)
async def test_a_second_service_on_the_engine(
    made: MadeNode, words: tuple[str, ...], environment: str
) -> None:
    second_service(made, *words, environment=environment)
    found = only(await shims.running(made.node))
    assert_finds(found, Level.ERROR, "another service drives this engine too (process 4712")
    made.service_pid = 4712
    assert_finds(only(await shims.running(made.node)), Level.OK)


@pytest.mark.parametrize(
    "words",
    [
        ("/usr/bin/asupervisor", "logs", "-f", "pod"),
        ("/usr/bin/asupervisor", "--docker-endpoint", "unix:///run/other.sock"),
        ("/usr/bin/asupervisor", "--docker-endpoint", "managed"),
        ("vi", "/etc/default/other"),
    ],
)
async def test_processes_that_leave_the_engine_alone(
    made: MadeNode, words: tuple[str, ...]
) -> None:
    second_service(made, *words)
    assert_finds(only(await shims.running(made.node)), Level.OK)


_IN_CONTAINER = f"0::/kubepods/pod1/{'0a' * 32}\n"


@pytest.mark.parametrize("program", ["asupervisor", "cri-dockerd"])
async def test_a_shim_in_a_container_is_known_by_the_engine_that_it_uses(
    made: MadeNode, program: str
) -> None:
    second_service(made, program, "--docker-endpoint=/run/engine.sock")
    made.write("proc/4712/cgroup", _IN_CONTAINER)
    made.write("proc/4712/comm", f"{program}\n")
    found = only(await shims.running(made.node))
    assert_finds(found, Level.ERROR, "too (process 4712")
    # It has none; what its link leads to out here is not its own.
    (made.root / "proc/4712/root/engine.sock").symlink_to(made.root / "run/engine.sock")
    second_service(made, program, "--docker-endpoint=/engine.sock")
    assert_finds(only(await shims.running(made.node)), Level.OK)


async def test_a_container_whose_memory_hangs_hides_no_shim_of_the_node(
    made: MadeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_service(made, "asupervisor", "--docker-endpoint=/run/engine.sock")
    made.write("proc/4713/cgroup", _IN_CONTAINER)
    words, answered = Node.words, threading.Event()

    def hanging(node: Node, pid: int) -> list[str]:
        if pid == 4713:
            answered.wait()
        return words(node, pid)

    monkeypatch.setattr(Node, "words", hanging)
    node = made.node
    node.deadline_s = 0.2
    try:
        found = await shims.running(node)
    finally:
        answered.set()
    assert isinstance(found, list)
    assert_finds(found[0], Level.ERROR, "another service drives this engine too (process 4712")
    assert_finds(found[1], Level.WARNING, "not every container could be looked at")


async def test_another_shim_starts_at_the_next_boot(made: MadeNode) -> None:
    made.write("etc/systemd/system/multi-user.target.wants/cri-docker.service", "")
    found = only(await shims.running(made.node))
    assert_finds(found, Level.WARNING, "cri-docker.service starts at the next boot")


def test_a_socket_that_another_shim_left(made: MadeNode) -> None:
    with listening(made.root / "var/run/dockershim.sock"):
        assert_finds(only(shims.left(made.node)), Level.OK)
    assert_finds(only(shims.left(made.node)), Level.WARNING, "/var/run/dockershim.sock")


def test_pods_that_another_shim_left(made: MadeNode) -> None:
    made.write("var/lib/dockershim/sandbox/abc", "{}")
    made.write("var/lib/cri-dockerd/sandbox/abc", "{}")
    found = only(shims.left(made.node))
    assert_finds(found, Level.WARNING, "/var/lib/dockershim/sandbox has checkpoints")
    assert "--root-directory /var/lib/dockershim" in found.remedy
