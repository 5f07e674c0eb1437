"""ImageFsInfo, from figures that are kept in the background."""

from __future__ import annotations

import anyio

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri

_FIRST_FIGURES_S = 1.0
"""Seconds that a call right after the start may wait for the first figures."""


async def image_fs_info(shim: Shim, request: cri.ImageFsInfoRequest) -> cri.ImageFsInfoResponse:
    """Use of the file system that holds the engine's images and writable layers; both are on the
    same one.

    Raises:
        FailedPrecondition: it could not be measured yet.
    """
    if not shim.stats.image_filesystem_known.is_set():
        with anyio.move_on_after(_FIRST_FIGURES_S):
            await shim.stats.image_filesystem_known.wait()
    figures = shim.stats.image_filesystem
    if not figures.mountpoint:
        shim.engine.health.require("measure the image file system")
        raise FailedPrecondition(
            "Docker Engine did not say yet where its images are, or they are not on this machine"
        )
    images = cri.FilesystemUsage(
        timestamp=figures.time_ns,
        fs_id=cri.FilesystemIdentifier(mountpoint=figures.mountpoint),
        used_bytes=cri.UInt64Value(value=figures.used_bytes),
        inodes_used=cri.UInt64Value(value=figures.inodes_used),
    )
    containers = cri.FilesystemUsage()
    containers.CopyFrom(images)
    containers.used_bytes.value = shim.stats.layers.total_bytes()
    return cri.ImageFsInfoResponse(image_filesystems=[images], container_filesystems=[containers])
