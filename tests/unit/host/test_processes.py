"""A pid counts for a container only while the kernel says that it is in its cgroup."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.host.processes import (
    ContainerProcess,
    container_processes,
    kill_process_tree,
    network_namespace,
)
from tests.harness.processes import add_process


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process
        process.kill()


def _cgroup_word(pid: int) -> str:
    """A part of the name of its cgroup, which stands for a container's id here."""
    text = Path(f"/proc/{pid}/cgroup").read_text()
    return next(line for line in text.splitlines() if line.partition(":")[2])


def test_a_process_of_another_is_not_taken_for_the_containers(
    child: subprocess.Popen[bytes],
) -> None:
    for pid, container in ((child.pid, "f" * 64), (child.pid, ""), (0, "f" * 64), (-1, "x")):
        with pytest.raises(ProcessLookupError, match=f"process {pid} is not of container"):
            ContainerProcess(pid, container)
        assert network_namespace(pid, container) == ""
        assert kill_process_tree(pid, container) == 0
    assert child.poll() is None
    state = Path(f"/proc/{child.pid}/stat").read_bytes().rsplit(b") ", 1)[1][:1]
    assert state != b"T", "it was not even stopped"


def test_one_of_the_container_is_read_and_killed(child: subprocess.Popen[bytes]) -> None:
    container = _cgroup_word(child.pid)
    with ContainerProcess(child.pid, container) as process:
        assert process.parent() == os.getpid()
        assert " - proc " in process.engine_mounts()
        assert network_namespace(child.pid, container) == f"/proc/{child.pid}/ns/net"
        assert kill_process_tree(child.pid, container) == 1
        assert child.wait() == -signal.SIGKILL
        with pytest.raises(OSError, match="No such"):
            process.read("cgroup")
    with pytest.raises(ProcessLookupError):
        ContainerProcess(child.pid, container)


def test_no_descriptor_is_left(child: subprocess.Popen[bytes]) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ProcessLookupError):
        ContainerProcess(child.pid, "f" * 64)
    kill_process_tree(child.pid, "f" * 64)
    kill_process_tree(child.pid, _cgroup_word(child.pid))
    assert os.listdir("/proc/self/fd") == before


def test_names_of_cgroups_may_be_any_bytes(tmp_path: Path) -> None:
    """A user with cgroups of his own may have made one of such a name."""
    container = "a" * 64
    for pid, group in (("7", b"/user.slice/\xff\xfe"), ("8", f"/docker/{container}".encode())):
        add_process(tmp_path, int(pid), "")
        (tmp_path / pid / "cgroup").write_bytes(b"0::" + group + b"\n")
    assert container_processes({container}, str(tmp_path)) == {container: [8]}


def test_the_oldest_process_comes_first_whatever_its_number(tmp_path: Path) -> None:
    container = "a" * 64
    for pid, started in ((7, 30), (9, 10), (8, 20)):
        add_process(tmp_path, pid, f"/docker/{container}", started=started)
    assert container_processes({container}, str(tmp_path)) == {container: [9, 8, 7]}


def test_a_process_name_does_not_make_it_the_first() -> None:
    script = r"open('/proc/self/comm', 'wb').write(b'\rNSpid:\t9\t1'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as named:
        assert named.stdout is not None
        assert named.stdout.readline() == b"\n"
        with ContainerProcess(named.pid, _cgroup_word(named.pid)) as process:
            assert b"\rNSpid:" in process.read("status")
            assert not process.is_first()
        named.kill()
