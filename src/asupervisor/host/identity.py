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
    """User and groups of a container's process; None if it has ended, or is not the container's.

    Args:
        pid: in our pid namespace.
        container_id: the engine's full id.
    """
    try:
        with ContainerProcess(pid, container_id) as process:
            status = process.read("status")
            users, groups = _ranges(process.read("uid_map")), _ranges(process.read("gid_map"))
        uid = _within(users, _numbers(status, b"Uid")[0])
        gid = _within(groups, _numbers(status, b"Gid")[0])
        further = {_within(groups, group) for group in _numbers(status, b"Groups")}
    except (OSError, ValueError, IndexError):
        return None
    return ProcessIdentity(uid, gid, tuple(sorted(further)))


def _numbers(status: bytes, name: bytes) -> list[int]:
    """A line of proc_pid_status(5). The kernel escapes line breaks in the name that a process
    chose.
    """
    _, _, rest = status.partition(b"\n%b:" % name)
    return [int(number) for number in rest.partition(b"\n")[0].split()]


def _ranges(text: bytes) -> list[tuple[int, int, int]]:
    """First id within, first id outside, and how many, of each line of user_namespaces(7)'s map."""
    return [
        (int(inside), int(outside), int(count))
        for inside, outside, count in map(bytes.split, text.splitlines())
    ]


def _within(ranges: list[tuple[int, int, int]], number: int) -> int:
    for inside, outside, count in ranges:
        if outside <= number < outside + count:
            return inside + number - outside
    raise ValueError(f"{number} has no id within the user namespace")
