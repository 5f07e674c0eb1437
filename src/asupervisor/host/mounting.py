"""Makes mounts, and removes those beneath a directory of ours, in this process' mount namespace.

Each function raises OSError if the kernel refuses."""

from __future__ import annotations

import ctypes
import os

from asupervisor.host.cgroups import mount_table, unescape

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC = 2, 4, 4096, 16384
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8


def mount_tmpfs(path: str, size_bytes: int | None, mode: int) -> None:
    """Mount a file system in memory.

    Args:
        path: an empty directory.
        size_bytes: most that it takes; None for the kernel's default, half of the memory.
        mode: of its root.
    """
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, options)


def mount_bind(descriptor: int, path: str) -> None:
    """Mount what a descriptor holds at another place, even if its name is another file's by now.

    Args:
        descriptor: of a directory or a file.
        path: of the same kind, a directory or a file.
    """
    _mount(f"/proc/self/fd/{descriptor}", path, "", _MS_BIND | _MS_REC, "")


def unmount_below(directory: str) -> None:
    """Remove every mount in a directory.

    Args:
        directory: absolute, without links.
    """
    for path in reversed(mounts_below(directory)):
        if ctypes.CDLL(None, use_errno=True).umount2(
            os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW
        ):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)


def mounts_below(directory: str) -> list[str]:
    """The mount points in a directory, in the order in which they were made."""
    places = (unescape(line.split(" ")[4]) for line in mount_table().split("\n")[:-1])
    return [place for place in places if place.startswith(f"{directory}/")]


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
