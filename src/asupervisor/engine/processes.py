"""Ending a command with everything that it started, by the kernel's own books."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple


class Stat(NamedTuple):
    """What the kernel says of a process."""

    state: bytes
    """One letter: ``Z`` has ended and waits to be reaped."""
    parent: int
    session: int


def process_stat(pid: int) -> Stat | None:
    """Out of ``/proc/<pid>/stat``; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b") ", 1)[1].split()
    except (OSError, IndexError):
        return None
    return Stat(fields[0], int(fields[1]), int(fields[3]))


def _outputs(pid: int) -> frozenset[str]:
    """The pipes that its standard output and error are."""
    found = []
    for number in (1, 2):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue
    return frozenset(link for link in found if link.startswith("pipe:"))


def _group(pid: int) -> str:
    """Where it is among the cgroups; the processes of a container have that in common, also in the
    host's pid namespace.
    """
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return file.read()
    except OSError:
        return ""


def process_tree(root: int) -> list[int]:
    """A process, everything below it, everything in its session, and what of its container writes
    to the same pipes.

    A command started by the engine leads a session of its own and writes to pipes of its own. What
    was started by it and left both its parent and its session is told from the container's other
    processes by these pipes alone.

    Args:
        root: pid in our pid namespace.
    """
    facts = {
        pid: stat
        for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        if (stat := process_stat(pid)) is not None
    }
    pipes, group = _outputs(root), _group(root)
    found, frontier = {root}, {root}
    if pipes and group:
        frontier |= {pid for pid in facts if _outputs(pid) & pipes and _group(pid) == group}
        found |= frontier
    while frontier:
        frontier = {
            pid
            for pid, stat in facts.items()
            if pid not in found and (stat.parent in frontier or stat.session in frontier)
        }
        found |= frontier
    return sorted(found)


def kill_process_tree(root: int) -> int:
    """SIGKILL a process tree: first everything is frozen, so that nothing forks away meanwhile.
    Returns how many were killed.
    """
    frozen: set[int] = set()
    while True:
        fresh = [
            pid for pid in process_tree(root) if pid not in frozen and process_stat(pid) is not None
        ]
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
