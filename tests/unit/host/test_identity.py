"""As whom a process runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from asupervisor.host.identity import ProcessIdentity, process_identity

_SLEEP = ["sh", "-c", "echo; read line"]


def _cgroup(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text().splitlines()[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="other users need root")
def test_it_is_told_as_the_kernel_has_it() -> None:
    with subprocess.Popen(
        _SLEEP,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=1234,
        group=77,
        extra_groups=[9, 5],
        cwd="/",
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = process_identity(child.pid, _cgroup(child.pid))
        child.communicate(b"\n")
    assert found == ProcessIdentity(1234, 77, (5, 9))


@pytest.mark.skipif(os.geteuid() != 0, reason="a user namespace of several ids needs root")
def test_ids_are_those_within_a_user_namespace() -> None:
    with subprocess.Popen(
        ["unshare", "--user", "--map-root-user", *_SLEEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=1234,
        group=77,
        extra_groups=[],
        cwd="/",
    ) as child:
        assert child.stdout is not None
        if not child.stdout.readline():
            pytest.skip("no user namespaces here")
        found = process_identity(child.pid, _cgroup(child.pid))
        child.communicate(b"\n")
    assert found is not None
    assert (found.uid, found.gid) == (0, 0)


def test_a_process_of_somebody_else_is_not_believed() -> None:
    assert process_identity(os.getpid(), "f" * 64) is None
    assert process_identity(os.getpid(), "") is None


def test_one_that_has_ended_is_none() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert process_identity(child.pid, "0") is None
