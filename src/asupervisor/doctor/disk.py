"""How much room is left for images, logs and state.

Each place is a check of its own, so that a file system that hangs affects only its own line."""

from __future__ import annotations

import os

from asupervisor.doctor.finding import Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.stats.filesystem import image_root

LOGS = "/var/log/pods"
KUBELET = "/var/lib/kubelet"
_LEAST_INODES = 0.05
_LAST = 0.03


def images(node: Node) -> Found:
    """Below 15 % kubelet removes images."""
    if node.engine is None:
        return []
    root = image_root(node.engine.info, ())
    return room("images", root, 0.15) if root else []


def state(node: Node) -> Found:
    """Checkpoints: without room no pod starts."""
    return room("checkpoints and state", node.path(node.config.root_directory), 0.10)


def logs(node: Node) -> Found:
    """Below 10 % kubelet evicts pods."""
    return room("container logs", node.path(LOGS), 0.10)


def volumes(node: Node) -> Found:
    """Below 10 % kubelet evicts pods."""
    return room("kubelet's volumes", node.path(KUBELET), 0.10)


def room(what: str, path: str, least: float) -> Found:
    """The room that is left on the file system of a path.

    Args:
        what: is stored there, in the plural.
        path: need not exist yet: then the nearest directory above counts.
        least: the part of its bytes below which kubelet acts.
    """
    found = _file_system(path)
    if found.f_flag & os.ST_RDONLY:
        return error(f"{what} in {path}: the file system is read-only", "look at dmesg; remount it")
    space = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
    inodes = found.f_favail / found.f_files if found.f_files else 1.0
    gib = found.f_bavail * found.f_frsize / (1 << 30)
    left = f"{gib:.1f} GiB ({space:.0%}) and {inodes:.0%} of the inodes are free"
    message = f"{what} in {path}: {left}"
    if space < _LAST or inodes < _LAST:
        return error(message, "make room: docker system prune, old logs, a larger disk")
    if space < least or inodes < _LEAST_INODES:
        return warning(message, "make room: kubelet removes images or evicts pods at this point")
    return ok(message)


def _file_system(path: str) -> os.statvfs_result:
    while True:
        try:
            return os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):
            path = os.path.dirname(path)
