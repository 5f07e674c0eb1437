"""RemoveImage."""

from __future__ import annotations

import logging

from asupervisor.dockershim.accounts import is_leftover
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound
from asupervisor.proto import cri

_logger = logging.getLogger("asupervisor.dockershim.image")


async def remove_image(shim: Shim, request: cri.RemoveImageRequest) -> cri.RemoveImageResponse:
    """Remove an image by any reference: all its tags and digests go, then the image (CRI). One that
    is not there is removed.

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
        # Asked first, so that an image in use keeps all of its names.
        users = [
            user
            for user in await shim.engine.containers.list_using(record.id)
            if user["ImageID"] == record.id
        ]
        if any(map(is_leftover, users)):
            await shim.accounts.clear()
            users = [user for user in users if not is_leftover(user)]
        if users:
            names = ", ".join(str(user["Id"])[:12] for user in users[:5])
            raise FailedPrecondition(
                f"image {request.image.image} is used by container {names}", subject=record.id
            )
        try:
            # By name one after the other: by id the engine refuses an image with several names, and
            # force would untag one in use.
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
            await shim.feed.images.refresh(record.id)
        _logger.info("removed image %s", request.image.image, extra={"image": request.image.image})

    await shim.operations.run(record.id, "RemoveImage", work)
    return cri.RemoveImageResponse()
