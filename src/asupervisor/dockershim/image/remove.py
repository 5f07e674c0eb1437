"""RemoveImage."""

from __future__ import annotations

import logging

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import InvalidArgument, NotFound
from asupervisor.proto import cri

_logger = logging.getLogger("asupervisor.dockershim.image")


async def remove_image(shim: Shim, request: cri.RemoveImageRequest) -> cri.RemoveImageResponse:
    """Remove an image by any reference: all its tags and digests go, then the image (CRI). One that is not there is removed.

    Raises:
        FailedPrecondition: a container uses it.
    """
    if not request.image.image:
        raise InvalidArgument("RemoveImage names no image")
    record = shim.store.image(request.image.image)
    if record is None:
        return cri.RemoveImageResponse()
    shim.engine.health.require("remove an image", request.image.image)

    async def work() -> None:
        try:
            # By name one after the other: by id the engine refuses an image with several names, and force would untag one in use.
            for name in [*record.image.repo_tags, *record.image.repo_digests]:
                try:
                    await shim.engine.images.remove(name)
                except NotFound:
                    continue
            try:
                await shim.engine.images.remove(record.id)
            except NotFound:
                pass
        finally:
            await shim.feed.refresh_images()
        _logger.info("removed image %s", request.image.image, extra={"rpc": "RemoveImage"})

    await shim.operations.run(record.id, "RemoveImage", work)
    return cri.RemoveImageResponse()
