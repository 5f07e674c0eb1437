"""Says whether a path may hang, without touching it: even to look at the mount point of a dead file
server hangs."""

from __future__ import annotations

import os
import time

from asupervisor.host.cgroups import mount_table, unescape

_FRESH_S = 1.0
_MOST_LINKS = 40
_LOCAL = {"bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660"}
_LOCAL |= {"devtmpfs", "overlay", "proc", "ramfs", "rootfs", "squashfs", "sysfs", "tmpfs", "vfat"}
_LOCAL |= {"xfs", "zfs"}
"""File systems that ask no other process and no other machine."""


class Mounts:
    """The mounts of this process' mount namespace, read again when they are older than a second."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._read_at = 0.0

    def that_may_hang(self, path: str) -> str:
        """The first mount point on the way to a path, links followed, whose file system waits for
        another process or machine.

        Args:
            path: absolute; need not exist.

        Returns:
            Empty if the whole way is local.
        """
        if not self._types or time.monotonic() - self._read_at > _FRESH_S:
            self._read()
        reached, left = "", path.split("/")[::-1]
        links = 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                reached = reached.rpartition("/")[0]
                continue
            reached = f"{reached}/{part}"
            if self._types.get(reached, "ext4") not in _LOCAL:
                return reached
            try:
                link = os.readlink(reached)
            except OSError:
                continue
            links += 1
            if links > _MOST_LINKS:
                return ""
            left += link.split("/")[::-1]
            reached = "" if link.startswith("/") else reached.rpartition("/")[0]
        return ""

    def _read(self) -> None:
        self._types.clear()
        for line in mount_table().split("\n")[:-1]:
            fields, _, rest = line.partition(" - ")
            # If there are several at one place, the last one is on top.
            self._types[unescape(fields.split(" ")[4])] = rest.partition(" ")[0]
        self._read_at = time.monotonic()
