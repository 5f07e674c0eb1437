"""What a session of tests leaves behind is found and removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness import session
from tests.harness.engine import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes mounts and cgroups")


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> session.Before:
    """A session that begins now, with a cgroup name of its own and no patience."""
    monkeypatch.setattr(session, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(session, "POD_SLICE", f"asupervisor{session.NAME}x")
    monkeypatch.setattr(session, "CONFORMANCE_SLICE", f"conformance{session.NAME}x")
    monkeypatch.setattr(session, "_containers", set())
    # The engine that the session's tests share runs meanwhile.
    monkeypatch.setattr(session, "_processes", _others(session._processes))
    return session.Before()


def _others(processes: session.Processes) -> session.Processes:
    known = set(processes())
    return lambda: {pid: command for pid, command in processes().items() if pid not in known}


def test_nothing_is_found_where_nothing_is_left(before: session.Before) -> None:
    assert before.left() == []


def test_a_process_is_named_and_ended(before: session.Before) -> None:
    process = subprocess.Popen(["sleep", "631"], start_new_session=True)
    # Just after its exec a process has no command line yet.
    eventually(lambda: process.pid in session._processes(), "the process is seen")
    assert before.left() == [f"process {process.pid}: sleep 631"]
    assert process.wait() == -9


def test_a_mount_is_named_and_detached(before: session.Before, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True)
    assert before.left() == [f"mount {tmp_path}"]
    assert not tmp_path.is_mount()


def test_cgroups_of_pods_are_removed(before: session.Before) -> None:
    root = next(iter(session._hierarchies()))
    pod = root / f"{session.POD_SLICE}.slice" / "pod"
    pod.mkdir(parents=True)
    assert before.left() == []
    assert not pod.parent.exists()


def test_a_cgroup_of_a_container_is_named_and_removed(before: session.Before) -> None:
    container = "f" * 64
    left = next(iter(session._hierarchies())) / "docker" / container
    left.mkdir(parents=True)
    session.remember_containers([container])
    assert before.left() == [f"cgroup {left}"]
    assert not left.exists()
