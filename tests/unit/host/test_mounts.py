"""Whether a path may hang is told from names and links, and touches nothing that hangs."""

from __future__ import annotations

from pathlib import Path

from asupervisor.host.mounts import Mounts
from tests.harness.dead_mount import dead_mount


def test_it_is_told_without_touching_what_hangs(tmp_path: Path) -> None:
    with dead_mount(tmp_path / "a dead one") as where:
        (tmp_path / "absolute").symlink_to(where)
        (tmp_path / "relative").symlink_to("absolute/pods")
        mounts = Mounts()
        for path in (
            where,
            f"{where}/pod/container/0.log",
            f"{tmp_path}/absolute/0.log",
            f"{tmp_path}/relative/0.log",
            f"{tmp_path}/nothing/../relative/0.log",
        ):
            assert mounts.that_may_hang(str(path)) == str(where)


def test_what_is_local_does_not(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    mounts = Mounts()
    for path in (f"{tmp_path}/0.log", f"{tmp_path}/round/0.log", "/proc/self/status", "/"):
        assert mounts.that_may_hang(path) == ""
