"""Finds the cgroups of a process: cgroup v1, cgroup v2, and both at once (hybrid).

Sources: cgroups(7) for ``/proc/<pid>/cgroup``, proc_pid_mountinfo(5) for the mounts.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_ESCAPED = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The mounted cgroup file systems.

    Args:
        v1: for each v1 controller (``cpuacct``, ``memory`` …) its mount point and the part of the
            hierarchy that is mounted there.
        v2: the same for the unified hierarchy; None where there is none.
    """

    v1: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    v2: tuple[str, str] | None = None

    @classmethod
    def mounted(cls) -> Hierarchies:
        """The ones in this process' mount namespace."""
        return cls.parse(mount_table())

    @classmethod
    def parse(cls, mountinfo: str) -> Hierarchies:
        """Find them in the text of ``/proc/self/mountinfo``; of several mounts of one hierarchy the
        first counts.
        """
        v1: dict[str, tuple[str, str]] = {}
        v2: tuple[str, str] | None = None
        for line in mountinfo.split("\n"):
            fields, separator, rest = line.partition(" - ")
            before, after = fields.split(" "), rest.split(" ")
            if not separator or len(before) < 6 or len(after) < 3:
                continue
            root, mount_point = unescape(before[3]), unescape(before[4])
            if after[0] == "cgroup2":
                v2 = v2 or (mount_point, root)
            elif after[0] == "cgroup":
                for option in after[2].split(","):
                    v1.setdefault(option, (mount_point, root))
        return cls(v1, v2)

    def container_directory(self, path: str, controllers: Iterable[str]) -> str:
        """The directory of a cgroup that is made for a container; empty if it is not mounted here.

        Args:
            path: within its hierarchy.
            controllers: of v1; the first that is mounted counts, and if none is, v2.
        """
        mounts = (*(self.v1.get(controller) for controller in controllers), self.v2)
        mounted = next((mount for mount in mounts if mount is not None), None)
        return _directory(mounted, path) if mounted is not None else ""

    def locate(self, proc_cgroup: str, container_id: str = "") -> tuple[Location, Location]:
        """Find the cgroup of a container and the one above it.

        Args:
            proc_cgroup: the text of ``/proc/<pid>/cgroup`` of the container's first process.
            container_id: that process may have moved into a cgroup below the container's (an init
                system does); the directory whose name contains the id is the container's own.

        Returns:
            The container's directories and those of the cgroup above it: the pod's, if the CRI gave
            the pod a cgroup.
        """
        own, above = Location({}, ""), Location({}, "")
        for line in proc_cgroup.split("\n"):
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            path = _cut(path, container_id)
            if path != "/" and (not own.path or "memory" in controllers.split(",")):
                own.path, above.path = path, posixpath.dirname(path)
            for location, place in ((own, path), (above, posixpath.dirname(path))):
                if number == "0" and not controllers:
                    if self.v2 is not None:
                        location.v2 = _directory(self.v2, place)
                    continue
                for controller in controllers.split(","):
                    directory = (
                        _directory(self.v1[controller], place) if controller in self.v1 else ""
                    )
                    if directory:
                        location.v1[controller] = directory
        return own, above


@dataclass(slots=True)
class Location:
    """The directories of one cgroup.

    Args:
        v1: one directory for each v1 controller.
        v2: the directory in the unified hierarchy; empty where it is the root (which describes the
            whole machine) or unknown.
        path: the cgroup's path within its hierarchy, the memory controller's where they differ.
    """

    v1: dict[str, str]
    v2: str
    path: str = ""

    def __bool__(self) -> bool:
        return bool(self.v1 or self.v2)


def _cut(path: str, container_id: str) -> str:
    if not container_id or container_id not in path:
        return path
    parts = path.split("/")
    index = next(index for index, part in enumerate(parts) if container_id in part)
    return "/".join(parts[: index + 1])


def _directory(mount: tuple[str, str], path: str) -> str:
    """The directory of a cgroup path under a mount; empty for the root cgroup and for what is not
    under the mount.
    """
    mount_point, root = mount
    if root != "/":
        if path != root and not path.startswith(root + "/"):
            return ""
        path = path[len(root) :]
    if path in ("", "/") or path.startswith("/.."):
        return ""
    return mount_point.rstrip("/") + path


def mount_table() -> str:
    """The text of ``/proc/self/mountinfo``; the name of a mount point may have any bytes."""
    with open("/proc/self/mountinfo", "rb") as file:
        return os.fsdecode(file.read())


def unescape(text: str) -> str:
    """Undo the octal escapes (``\\040``) of mountinfo."""
    if "\\" not in text:
        return text
    raw = _ESCAPED.sub(lambda found: bytes((int(found[1], 8),)), os.fsencode(text))
    return os.fsdecode(raw)
