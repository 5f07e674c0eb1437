"""User and groups of a container's process, as the kernel has them."""

from __future__ import annotations

from dataclasses import dataclass

from asupervisor.host.processes import ContainerProcess


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
    """User and groups of a container's process; None where it has ended or is another's.

    Args:
        pid: in our pid namespace.
        container_id: the engine's full id.
    """
    try:
        with ContainerProcess(pid, container_id) as process:
            status, uid_map, gid_map = (
                process.read(name).decode(errors="replace")
                for name in ("status", "uid_map", "gid_map")
            )
        facts = dict(line.split(":", 1) for line in status.split("\n") if ":" in line)
        users, groups = _ranges(uid_map), _ranges(gid_map)
        ids = (
            _within(users, int(facts["Uid"].split()[0])),
            _within(groups, int(facts["Gid"].split()[0])),
            *(_within(groups, int(group)) for group in facts["Groups"].split()),
        )
    except (OSError, KeyError, ValueError, IndexError):
        return None
    return ProcessIdentity(ids[0], ids[1], tuple(sorted(set(ids[2:]))))


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
