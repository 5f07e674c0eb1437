"""The first process of a container, as the way to its cgroup, its network namespace and its root
file system.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from asupervisor.stats.files import content_of
from asupervisor.stats.hierarchy import Hierarchies, Location
from asupervisor.stats.layers import upper_directory
from asupervisor.stats.network import InterfaceCounters, parse_net_dev, read_net_dev


class Process:
    """Found once, and held by a descriptor that no later process with the same pid can take over.

    Args:
        pid: as this process sees it; 0 finds nothing.
        container_id: must appear in the name of its cgroup, as every cgroup driver has it: a pid of
            another pid namespace, or one that was used again, belongs to somebody else.
        hierarchies: gives the mounted cgroup file systems.
    """

    def __init__(self, pid: int, container_id: str, hierarchies: Callable[[], Hierarchies]) -> None:
        self.pid = pid
        self.cgroup, self.parent = Location({}, ""), Location({}, "")
        """The container's cgroup, and the one above it."""
        self._directory = -1
        if not pid:
            return
        try:
            self._directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            cgroup = self._text("cgroup")
        except OSError:
            cgroup = ""
        if container_id in cgroup:
            self.cgroup, self.parent = hierarchies().locate(cgroup, container_id)
        else:
            self.close()

    def __bool__(self) -> bool:
        """Whether it was found."""
        return bool(self.cgroup)

    def net_dev(self) -> list[InterfaceCounters]:
        """The interfaces of its network namespace; none where the process is gone."""
        if self._directory < 0:
            return []
        try:
            return parse_net_dev(read_net_dev(self._directory))
        except OSError:
            return []

    def upper_directory(self) -> str:
        """The writable layer of its root file system, where that is an overlay; else empty."""
        try:
            return upper_directory(self._text("mountinfo")) if self._directory >= 0 else ""
        except OSError:
            return ""

    def soft_limit(self, name: str) -> int:
        """One of its soft resource limits, by its title in ``/proc/<pid>/limits`` (``Max open
        files``); -1 for none or not known.
        """
        try:
            text = self._text("limits") if self._directory >= 0 else ""
        except OSError:
            return -1
        _, found, rest = text.partition("\n" + name)
        value = rest.split(maxsplit=1)[0] if found else ""
        return int(value) if value.isdigit() else -1

    def close(self) -> None:
        """Let go of the process."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _text(self, name: str) -> str:
        return content_of(name, self._directory).decode("utf-8", "surrogateescape")


def open_files(pids: list[int]) -> tuple[int, int]:
    """How many descriptors some processes have open together, and how many of those are sockets."""
    files, sockets = 0, 0
    for pid in pids:
        try:
            directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for name in os.listdir(directory):
                files += 1
                try:
                    sockets += os.readlink(name, dir_fd=directory).startswith("socket:")
                except OSError:
                    continue
        except OSError:
            continue
        finally:
            os.close(directory)
    return files, sockets
