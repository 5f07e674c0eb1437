"""ImageFsInfo."""

from __future__ import annotations

import os
import time

import anyio.to_thread

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri


async def image_fs_info(shim: Shim, request: cri.ImageFsInfoRequest) -> cri.ImageFsInfoResponse:
    """Use of the filesystem that holds the engine's images and writable layers."""
    root = str(shim.engine.info.get("DockerRootDir") or "")
    if not root:
        shim.engine.health.require("measure the image filesystem")
        raise FailedPrecondition("Docker Engine did not say where its images are")
    usage = await anyio.to_thread.run_sync(_usage, root)
    return cri.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])


def _usage(root: str) -> cri.FilesystemUsage:
    try:
        figures = os.statvfs(root)
    except OSError as error:
        raise FailedPrecondition(f"the engine's data root {root} cannot be measured: {error}") from error
    return cri.FilesystemUsage(
        timestamp=time.time_ns(),
        fs_id=cri.FilesystemIdentifier(mountpoint=root),
        used_bytes=cri.UInt64Value(value=(figures.f_blocks - figures.f_bfree) * figures.f_frsize),
        inodes_used=cri.UInt64Value(value=figures.f_files - figures.f_ffree),
    )
