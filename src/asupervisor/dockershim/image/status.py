"""ImageStatus, from memory; an image that is not there is an empty answer, not an error (CRI). One
without content for this node's platform counts as not there, so that kubelet pulls it.
"""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.dockershim.verbose import encoded_info
from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.documents import mapping


async def image_status(shim: Shim, request: cri.ImageStatusRequest) -> bytes:
    """A whole ImageStatusResponse."""
    if not request.image.image:
        raise InvalidArgument("ImageStatus names no image")
    record = shim.store.usable_image(request.image.image)
    if record is None:
        return b""
    if not request.verbose:
        return record.item_bytes
    document = record.document
    config = mapping(document, "Config")
    details = {
        "imageSpec": {
            "config": config,
            "architecture": document.get("Architecture"),
            "os": document.get("Os"),
        },
        "inspect": dict(document),
    }
    info = encoded_info(details)
    return record.item_bytes + cri.ImageStatusResponse(info=info).SerializeToString()
