"""As whom a process of a container runs, by the kernel's books."""

from __future__ import annotations

import os
from dataclasses import dataclass

_LONGEST = 1 << 20
"""Bytes: a process may be in 65 536 groups, each a number of up to ten digits."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Real ids, as they are within the process' user namespace.

    Args:
        uid, gid: user and primary group.
        groups: supplementary groups, ascending.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]


def process_identity(pid: int, container_id: str) -> ProcessIdentity | None:
    """As whom a container's process runs; None where it has ended, or is none of that container.

    ``/proc/<pid>`` is held meanwhile, so that another process that is given the same number is not
    taken for it; that it is the container's is told from its cgroup, whose path has the id.

    Args:
        pid: in our pid namespace.
        container_id: the engine's full id.
    """
    try:
        held = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not container_id or container_id not in _read(held, "cgroup"):
            return None
        facts = dict(
            line.split(":", 1) for line in _read(held, "status").splitlines() if ":" in line
        )
        users, groups = _ranges(_read(held, "uid_map")), _ranges(_read(held, "gid_map"))
        ids = (
            _within(users, int(facts["Uid"].split()[0])),
            _within(groups, int(facts["Gid"].split()[0])),
            *(_within(groups, int(group)) for group in facts["Groups"].split()),
        )
    except (OSError, KeyError, ValueError, IndexError):
        return None
    finally:
        os.close(held)
    return ProcessIdentity(ids[0], ids[1], tuple(sorted(set(ids[2:]))))


def _read(held: int, name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=held)
    with open(descriptor, "rb") as file:
        return file.read(_LONGEST).decode(errors="replace")


def _ranges(text: str) -> list[tuple[int, int, int]]:
    """First id within, first id outside, and how many, of each line of user_namespaces(7)'s map."""
    return [
        (int(inside), int(outside), int(count))
        for inside, outside, count in map(str.split, text.splitlines())
    ]


def _within(ranges: list[tuple[int, int, int]], number: int) -> int:
    for inside, outside, count in ranges:
        if outside <= number < outside + count:
            return inside + number - outside
    raise ValueError(f"{number} has no id within the user namespace")
