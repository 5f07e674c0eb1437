"""The first process of a container, among others that stand in its cgroup."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from asupervisor.host.cgroups import Hierarchies
from asupervisor.host.first_process import find_first_process
from asupervisor.host.netns import hold_namespace, until_ipv6_is_off
from tests.harness.engine import eventually

CONTAINER = "f" * 64
PARENT = "/asupervisor-test-first"


def directories() -> list[Path]:
    hierarchies = Hierarchies.parse(Path("/proc/self/mountinfo").read_text())
    mounts = {mount for mount, root in hierarchies.v1.values() if root == "/"}
    if not mounts and hierarchies.v2 is not None:
        mounts = {hierarchies.v2[0]}
    return [Path(mount + PARENT, CONTAINER) for mount in sorted(mounts) if "cpuset" not in mount]


@pytest.fixture
def cgroup() -> Iterator[list[Path]]:
    made = directories()
    yield made
    for directory in made:
        for place in (directory, directory.parent):
            eventually(partial(is_removed, place), f"{place} is empty and goes")


def is_removed(place: Path) -> bool:
    """Remove a cgroup; the kernel lets go of one a little after its last process has ended."""
    try:
        place.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


@contextlib.contextmanager
def process(cgroup: list[Path], *unshare: str, name: str = "sh") -> Iterator[int]:
    """A process in the cgroup and in namespaces of its own; its pid as we see it."""
    for directory in cgroup:
        directory.mkdir(parents=True, exist_ok=True)
    join = "; ".join(f"echo $$ > {directory}/cgroup.procs" for directory in cgroup)
    inner = 'printf "%s" "$1" > /proc/self/comm 2>/dev/null; echo ready; exec sleep 1000'
    command = ["unshare", *unshare, "--kill-child", "sh", "-c", inner, "sh", name]
    if not unshare:
        command = ["sh", "-c", inner, "sh", name]
    with subprocess.Popen(
        ["sh", "-c", f'{join}; exec "$@"', "sh", *command], stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None and running.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        pid = int(children[0]) if children else running.pid
        try:
            yield pid
        finally:
            os.kill(pid, 9)
            running.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="makes cgroups and namespaces")
async def test_it_is_the_first_of_a_pid_namespace_in_a_network_of_its_own(
    cgroup: list[Path],
) -> None:
    at_once = threading.Event()
    at_once.set()

    path = f"{PARENT}/{CONTAINER}"
    with (
        process(cgroup, name="NSpid:\t7\t1"),
        process(cgroup, "--net", name="NSpid: 7 1"),
        process(cgroup, "--pid", "--fork"),
    ):
        with anyio.move_on_after(0.3):
            raise AssertionError(await find_first_process(CONTAINER, path, False))
        with process(cgroup, "--pid", "--fork", "--net") as pid:
            found = await find_first_process(CONTAINER, path, False)
            assert found is not None
            with found.namespace:
                assert (found.pid, found.path) == (pid, f"/proc/{pid}/ns/net")
                identity = found.namespace.identity
                assert identity != (os.stat("/proc/self/ns/net").st_dev, 0)
                assert not until_ipv6_is_off(found.namespace.path, at_once)
                again = hold_namespace(pid, CONTAINER)
                assert again is not None and again.identity == identity
                again.close()
                assert hold_namespace(pid, "e" * 64) is None, "not of another container"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes cgroups and namespaces")
def test_a_namespace_outlives_its_process_while_it_is_held(cgroup: list[Path]) -> None:
    at_once = threading.Event()
    at_once.set()
    with process(cgroup, "--pid", "--fork", "--net") as pid:
        held = hold_namespace(pid, CONTAINER)
        assert held is not None
        identity = held.identity
    with held.again() as again:
        held.close()
        eventually(lambda: not Path(f"/proc/{pid}/ns/net").exists(), "the process has ended")
        assert os.stat(again.path).st_ino == identity[1]
        until_ipv6_is_off(again.path, at_once)


async def test_what_is_never_there_is_not_waited_for_when_the_caller_has_enough() -> None:
    with anyio.move_on_after(0.05) as scope:
        await find_first_process(CONTAINER, f"{PARENT}/nobody", False)
    assert scope.cancelled_caught
