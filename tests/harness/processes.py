"""Processes as the kernel tells of them, in a directory of a test's."""

from __future__ import annotations

from pathlib import Path


def add_process(proc: Path, pid: int, cgroup: str, state: str = "S", started: int = 0) -> None:
    """Add a process to a directory like ``/proc``.

    Args:
        proc: the directory.
        pid: its number.
        cgroup: its path in the unified hierarchy.
        state: one letter, as in ``/proc/<pid>/stat``.
        started: when, in ticks.
    """
    directory = proc / str(pid)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup").write_text(f"0::{cgroup}\n")
    others = " ".join(["0"] * 15)
    (directory / "stat").write_text(f"{pid} (a) b) {state} 1 {pid} {pid} {others} {started}\n")
