"""ListImages and StreamImages, from memory."""

from __future__ import annotations

from asupervisor.dockershim.batches import streamed
from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def list_images(shim: Shim, request: cri.ListImagesRequest) -> bytes:
    """A whole ListImagesResponse."""
    if not request.filter.image.image:
        return shim.store.list_images()
    return b"".join(await _items(shim, request))


async def _items(
    shim: Shim, request: cri.ListImagesRequest | cri.StreamImagesRequest
) -> list[bytes]:
    wanted = request.filter.image.image
    if not wanted:
        return [record.item_bytes for record in shim.store.images.values()]
    record = shim.store.image(wanted)
    return [record.item_bytes] if record is not None else []


stream_images = streamed(_items)
