"""The first process of a container, as the way to its cgroup, network and root."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice

from asupervisor.host.cgroups import Hierarchies, Location
from asupervisor.host.processes import ContainerProcess
from asupervisor.stats.layers import upper_directory
from asupervisor.stats.network import InterfaceCounters, parse_net_dev, read_net_dev

_MOST_OPEN = 1 << 14
"""Descriptors of a container that are counted, some 0.1 s of work. Many processes can share one
table of a million descriptors, which costs them nothing and would keep every reading waiting.
"""
_MOST_PROCESSES = 4096
"""Processes of a container whose descriptors are counted."""


class Process:
    """Found once, and held by a descriptor that no later process with the same pid can take over.

    Args:
        pid: as this process sees it; 0 finds nothing.
        container_id: whose process it has to be: a pid of another pid namespace, or one that was
            used again, belongs to another process.
        hierarchies: gives the mounted cgroup file systems.
    """

    def __init__(self, pid: int, container_id: str, hierarchies: Callable[[], Hierarchies]) -> None:
        self.pid = pid
        self.cgroup = Location({}, "")
        """The container's."""
        self._container_id = container_id
        self._held: ContainerProcess | None = None
        self._mounted = hierarchies()
        try:
            self._held = ContainerProcess(pid, container_id)
        except ProcessLookupError:
            return
        self.cgroup, _ = self._mounted.locate(self._held.cgroup, container_id)

    def __bool__(self) -> bool:
        """Whether it was found."""
        return bool(self.cgroup)

    @property
    def parent(self) -> Location:
        """The cgroup above the container's; nothing where the process was not found."""
        if self._held is None:
            return Location({}, "")
        return self._mounted.locate(self._held.cgroup, self._container_id)[1]

    def net_dev(self) -> list[InterfaceCounters]:
        """The interfaces of its network namespace; none where the process is gone."""
        if self._held is None:
            return []
        try:
            return parse_net_dev(read_net_dev(self._held.descriptor))
        except OSError:
            return []

    def upper_directory(self) -> str:
        """The writable layer of its root file system, where that is an overlay; else empty."""
        try:
            mounts = self._held.engine_mounts() if self._held is not None else ""
        except OSError:
            return ""
        return upper_directory(mounts, self._container_id)

    def soft_limit(self, name: str) -> int:
        """One of its soft resource limits, by its title in ``/proc/<pid>/limits`` (``Max open
        files``); -1 for none or not known.
        """
        try:
            text = self._held.read("limits").decode() if self._held is not None else ""
        except OSError:
            return -1
        _, found, rest = text.partition("\n" + name)
        value = rest.split(maxsplit=1)[0] if found else ""
        return int(value) if value.isdigit() else -1

    def close(self) -> None:
        """Let go of the process."""
        if self._held is not None:
            self._held.close()
            self._held = None


def open_files(pids: list[int]) -> tuple[int, int]:
    """How many descriptors some processes have open together, and how many of those are sockets;
    no more than 16384 are counted.
    """
    files, sockets = 0, 0
    for pid in pids[:_MOST_PROCESSES]:
        if files >= _MOST_OPEN:
            break
        try:
            directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            with os.scandir(directory) as entries:
                for entry in islice(entries, _MOST_OPEN - files):
                    files += 1
                    try:
                        link = os.readlink(entry.name, dir_fd=directory)
                    except OSError:
                        continue
                    sockets += link.startswith("socket:")
        except OSError:
            continue
        finally:
            os.close(directory)
    return files, sockets
