"""Ending a command with everything that it started, by the kernel's own books."""

from __future__ import annotations

import os
import signal


def _stat(pid: int) -> tuple[int, int] | None:
    """Parent and session of a process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b") ", 1)[1].split()
    except (OSError, IndexError):
        return None
    return int(fields[1]), int(fields[3])


def process_tree(root: int) -> list[int]:
    """A process, everything below it, and everything in its session: a command started by the engine leads one of its own.

    Args:
        root: pid in our pid namespace.
    """
    facts = {pid: stat for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if (stat := _stat(pid)) is not None}
    found, frontier = {root}, {root}
    while frontier:
        frontier = {pid for pid, (parent, session) in facts.items() if pid not in found and (parent in frontier or session in frontier)}
        found |= frontier
    return sorted(found)


def kill_process_tree(root: int) -> int:
    """SIGKILL a process tree: first everything is frozen, so that nothing forks away meanwhile. Returns how many were killed."""
    frozen: set[int] = set()
    while True:
        fresh = [pid for pid in process_tree(root) if pid not in frozen and _stat(pid) is not None]
        if not fresh:
            break
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
            frozen.add(pid)
    for pid in frozen:
        _signal(pid, signal.SIGKILL)
    return len(frozen)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
