"""ListImages and StreamImages, from memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asupervisor.dockershim.batches import batches
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def list_images(shim: Shim, request: cri.ListImagesRequest) -> bytes:
    """A whole ListImagesResponse."""
    wanted = request.filter.image.image
    if not wanted:
        return shim.store.list_images()
    record = shim.store.image(wanted)
    return record.item_bytes if record is not None else b""


async def stream_images(shim: Shim, request: cri.StreamImagesRequest) -> AsyncIterator[bytes]:
    """The same in several messages."""
    wanted = request.filter.image.image
    found = shim.store.image(wanted)
    records = (
        list(shim.store.images.values()) if not wanted else [found] if found is not None else []
    )
    for batch in batches([record.item_bytes for record in records]):
        yield batch
