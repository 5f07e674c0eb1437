"""The run of all checks: what hangs, fails or may not be looked at is a line of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest

from asupervisor.doctor.checks import CHECKS
from asupervisor.doctor.examine import examine, worst
from asupervisor.doctor.finding import Check, Finding, Found, Level, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.errors import Unavailable
from asupervisor.host.peers import listener_process
from tests.harness.made_node import MadeNode
from tests.harness.pods import until


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    node = MadeNode(tmp_path)
    node.config["docker_endpoint"] = f"unix://{tmp_path}/engine.sock"
    return node


async def found(made: MadeNode, *looks: object, deadline_s: float = 5.0) -> list[Finding]:
    node = made.node
    node.engine, node.deadline_s = None, deadline_s
    checks = [Check(f"check-{index}", look) for index, look in enumerate(looks)]  # type: ignore[arg-type]
    return [line.finding for line in await examine(node, checks)]


async def test_lines_keep_the_order_of_the_checks(made: MadeNode) -> None:
    second = threading.Event()

    def slow(node: Node) -> Found:
        assert second.wait(30)
        return ok("first")

    async def quick(node: Node) -> Found:
        second.set()
        return [ok("second"), warning("third", "do")]

    lines = await found(made, slow, quick)
    assert [line.message for line in lines] == ["first", "second", "third"]


async def test_what_hangs_costs_its_own_line(made: MadeNode) -> None:
    let_go = threading.Event()

    def hangs(node: Node) -> Found:
        let_go.wait(60)
        return ok("too late")

    async def waits(node: Node) -> Found:
        await anyio.sleep_forever()
        raise AssertionError

    async def blocks(node: Node) -> Found:
        return hangs(node)

    try:
        lines = await found(made, hangs, waits, blocks, lambda node: ok("well"), deadline_s=0.2)
    finally:
        let_go.set()
    assert [line.level for line in lines] == [Level.ERROR] * 3 + [Level.OK]
    assert all("did not end within 0.2 s" in line.message for line in lines[:3])


async def test_what_may_not_be_looked_at_is_a_warning(made: MadeNode) -> None:
    def refused(node: Node) -> Found:
        raise PermissionError(13, "Permission denied", "/root/secret")

    (line,) = await found(made, refused)
    assert line == warning("no permission to look at /root/secret", "run this as root")


@pytest.mark.parametrize(
    "failure", [OSError(5, "bad disk", "/x"), Unavailable("so"), KeyError("k")]
)
async def test_what_fails_is_told_and_bounded(made: MadeNode, failure: Exception) -> None:
    def fails(node: Node) -> Found:
        raise failure

    (line,) = await found(made, fails)
    assert line.level is Level.ERROR and line.remedy


async def test_words_of_others_are_one_short_line(made: MadeNode) -> None:
    (line,) = await found(made, lambda node: ok("a\nb\x1b[2J" + "x" * 100000))
    assert line.message.startswith("a\\nb\\x1b[2J") and len(line.message.encode()) <= 4096


async def test_an_engine_that_is_not_there_is_one_error(made: MadeNode) -> None:
    node = made.node
    node.engine = None
    lines = await examine(node)
    of_engine = [line for line in lines if line.check == "engine"]
    assert len(of_engine) == 1 and of_engine[0].finding.level is Level.ERROR
    assert of_engine[0].finding.message.startswith("Engine")
    assert not [line for line in lines if line.check in ("live-restore", "disk-images")]
    assert not [line for line in lines if "this check failed" in line.finding.message]
    assert worst(lines) is Level.ERROR


async def test_a_kubelet_configuration_that_is_none(made: MadeNode) -> None:
    made.write("var/lib/kubelet/config.yaml", "kind: [")
    node = made.node
    node.engine = None
    (line,) = [line for line in await examine(node) if line.check == "kubelet"]
    assert line.finding.level is Level.ERROR and "is not YAML" in line.finding.message


async def test_a_kubelet_configuration_that_is_a_pipe_holds_nobody_up(made: MadeNode) -> None:
    made.write("var/lib/kubelet/x", "")
    os.mkfifo(made.root / "var/lib/kubelet/config.yaml")
    node = made.node
    node.engine = None
    (line,) = [line for line in await examine(node) if line.check == "kubelet"]
    assert line.finding.level is Level.ERROR and "a FIFO" in line.finding.message


@pytest.mark.parametrize("flag", ["--config\0{}\0-v=2\0", "--v=2\0--config={}\0"])
async def test_the_configuration_of_the_kubelet_that_runs(made: MadeNode, flag: str) -> None:
    made.write("proc/77/comm", "kubelet\n")
    made.write("proc/77/cmdline", "/usr/bin/kubelet\0" + flag.format("/srv/kubelet.yaml"))
    made.write("srv/kubelet.yaml", "kind: KubeletConfiguration\n")
    node = made.node
    node.engine = None
    (line,) = [line for line in await examine(node) if line.check == "kubelet"]
    assert line.finding == ok("/srv/kubelet.yaml is read")


@pytest.mark.parametrize(
    "flags", ["--config=/srv/k.yaml\0--config-dir\0/srv/k.d\0", "--config-dir=/srv/k.d\0"]
)
async def test_the_drop_ins_of_the_kubelet_that_runs(made: MadeNode, flags: str) -> None:
    made.write("proc/77/comm", "kubelet\n")
    made.write("proc/77/cmdline", f"/usr/bin/kubelet\0{flags}")
    made.write("srv/k.yaml", "kind: KubeletConfiguration\ncgroupDriver: systemd\n")
    made.write("srv/k.d/10.conf", "kind: KubeletConfiguration\ncgroupDriver: cgroupfs\n")
    node = made.node
    node.engine = None
    (line,) = [line for line in await examine(node) if line.check == "kubelet"]
    assert line.finding.level is Level.OK and "/srv/k.d is read" in line.finding.message
    assert node.kubelet["cgroupDriver"] == "cgroupfs"


async def test_drop_ins_that_are_not_there(made: MadeNode) -> None:
    made.write("proc/77/comm", "kubelet\n")
    made.write("proc/77/cmdline", "/usr/bin/kubelet\0--config-dir=/srv/none\0")
    node = made.node
    node.engine = None
    (line,) = [line for line in await examine(node) if line.check == "kubelet"]
    assert line.finding.level is Level.ERROR and "srv/none" in line.finding.message


async def test_behind_a_socket_of_systemds_is_the_service(made: MadeNode) -> None:
    made.config["root_directory"] = str(made.root / "root")
    (made.root / "root").mkdir()
    node = made.node
    program = "import socket, sys; s = socket.socket(1); s.bind(sys.argv[1]); s.listen(); input()"
    command = [sys.executable, "-c", program, f"{made.root}/root/cri.sock"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as service,  # noqa: ASYNC220 (one start)
        socket.socket(socket.AF_UNIX) as systemd,
    ):
        systemd.bind(f"{made.root}/cri.sock")
        systemd.listen()
        await until(lambda: listener_process(command[-1]) is not None, "it listens")
        node.deadline_s = 1.0
        await examine(node, [])
        assert node.service_pid == service.pid
        assert node.service_problem  # it does not speak the CRI
        service.communicate()


def test_names_are_told_apart() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) > 30
    assert worst([]) is Level.OK
