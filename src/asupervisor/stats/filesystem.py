"""Which directory the engine's images are under, and what its file system says."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asupervisor.host.peers import listener_process
from asupervisor.stats.subjects import ImageFilesystem
from asupervisor.translate.images import SNAPSHOTTER, uses_containerd_store

_CONTENT = "io.containerd.content.v1.content"
_DATABASE = "/io.containerd.metadata.v1.bolt/meta.db"
_SYSTEM_CONTAINERD = "/var/lib/containerd"


def image_root(info: Mapping[str, Any], layers: Iterable[str]) -> str:
    """The directory that holds images and writable layers; looks at the node, so it may block.

    That is DockerRootDir, except with the containerd image store: then it is containerd's root,
    which no engine tells. It shows in the path of any writable layer, and in the database that the
    containerd at the address which the engine tells (API 1.46) holds open. Where neither can be
    seen it is the root of the containerd that the engine runs itself, or the system's.

    Args:
        info: the engine's ``/info``.
        layers: directories of writable layers.

    Returns:
        A path; empty before the engine said anything.
    """
    root = str(info.get("DockerRootDir") or "")
    if not uses_containerd_store(info):
        return root
    for layer in layers:
        before, found, _ = layer.partition(f"/{SNAPSHOTTER}.")
        if found:
            return before
    containerd = info.get("Containerd")
    address = containerd.get("Address") if isinstance(containerd, dict) else None
    if address and (opened := _root_of_containerd(str(address))):
        return opened
    likely = (f"{root}/containerd/daemon", _SYSTEM_CONTAINERD)
    return next((path for path in likely if os.path.isdir(f"{path}/{_CONTENT}")), root)


def _root_of_containerd(address: str) -> str:
    """The root of the containerd behind a socket, or empty where it cannot be seen."""
    try:
        entries = list(Path(f"/proc/{listener_process(address) or 0}/fd").iterdir())
    except OSError:
        return ""
    for entry in entries:
        with contextlib.suppress(OSError):  # files come and go
            before, found, _ = os.readlink(entry).rpartition(_DATABASE)
            if found:
                return before
    return ""


def measure(root: str, image_bytes: int | None) -> ImageFilesystem:
    """The figures of a file system; blocks, and for long where that file system hangs.

    Args:
        root: a directory on it.
        image_bytes: what the engine says that its images take; None takes what is used of the file
            system.

    Raises:
        OSError: the directory is not there.
    """
    figures = os.statvfs(root)
    used = (
        (figures.f_blocks - figures.f_bfree) * figures.f_frsize
        if image_bytes is None
        else image_bytes
    )
    return ImageFilesystem(time.time_ns(), root, used, figures.f_files - figures.f_ffree)
