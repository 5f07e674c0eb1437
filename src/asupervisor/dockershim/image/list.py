"""ListImages, from memory."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def list_images(shim: Shim, request: cri.ListImagesRequest) -> bytes:
    """A whole ListImagesResponse."""
    wanted = request.filter.image.image
    if not wanted:
        return shim.store.list_images()
    record = shim.store.image(wanted)
    return record.item_bytes if record is not None else b""
