"""Processes really move, and a cgroup that cannot be made is named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from asupervisor.errors import ConfigError
from asupervisor.supervisor.runtime_cgroups import enter_cgroup, hierarchies
from tests.harness.engine import eventually

_NAME = "/asupervisor-test-runtime"


@pytest.fixture
def sleeper() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()
    for root in hierarchies():
        group = root / _NAME.strip("/")
        eventually(partial(_empty, group), f"{group} is empty")
        if group.exists():
            group.rmdir()


def _empty(group: Path) -> bool:
    return not group.exists() or not (group / "cgroup.procs").read_text()


def test_a_process_is_moved_in_every_hierarchy(sleeper: int) -> None:
    enter_cgroup(_NAME, (sleeper, 2**22 - 1))
    paths = {
        line.rsplit(":", 1)[1] for line in Path(f"/proc/{sleeper}/cgroup").read_text().splitlines()
    }
    assert paths == {_NAME}


def test_what_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "cgroup.procs").touch()
    (tmp_path / "memory" / "runtime").touch()
    with pytest.raises(ConfigError, match=r"--runtime-cgroups: .*/memory/runtime"):
        enter_cgroup("/runtime", (1,), mounts=tmp_path)
