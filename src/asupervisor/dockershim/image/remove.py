"""RemoveImage: the whole image with all of its names, or nothing."""

from __future__ import annotations

import contextlib
import logging

from asupervisor.dockershim.image.files import is_leftover
from asupervisor.dockershim.shim import Shim
from asupervisor.engine.session import Document
from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound, ServiceError
from asupervisor.node.records import ContainerId, ImageRecord
from asupervisor.proto import cri
from asupervisor.translate.documents import sequence, text
from asupervisor.translate.images import parse_reference, without_scheme

_logger = logging.getLogger(__name__)


async def remove_image(shim: Shim, request: cri.RemoveImageRequest) -> cri.RemoveImageResponse:
    """Remove an image by any reference: all its tags and digests go, then the image (CRI). One that
    is not there is removed.

    Raises:
        FailedPrecondition: a container uses it, as its image or as a volume, or another image is
            built on it. Then it keeps its names.
    """
    if not request.image.image:
        raise InvalidArgument("RemoveImage names no image")
    shim.engine.health.require("remove an image", request.image.image)
    found = shim.store.image(request.image.image) or await _asked(shim, request.image.image)
    if found is None:
        return cri.RemoveImageResponse()

    async def work() -> None:
        record = shim.store.images.get(found.id)
        if record is None:
            return
        await _check_unused(shim, record, request.image.image)
        async with shim.feed.images.changing(record.id):
            await _remove(shim, record)
        _logger.info("removed image %s", request.image.image, extra={"image": request.image.image})

    await shim.operations.run(found.id, "RemoveImage", work)
    return cri.RemoveImageResponse()


async def _asked(shim: Shim, reference: str) -> ImageRecord | None:
    """An image that the node does not know may have been made without an event: some engines send
    none for a commit.
    """
    with contextlib.suppress(InvalidArgument):  # what is not a reference names no image
        await shim.feed.images.refresh(without_scheme(reference))
    return shim.store.image(reference)


async def _check_unused(shim: Shim, record: ImageRecord, asked: str) -> None:
    """Checked first: the engine refuses to remove only the last name, and never the image of a
    volume.
    """
    users = [
        summary
        for summary in await shim.engine.containers.list_all()
        if _uses(shim, summary, record)
    ]
    if any(map(is_leftover, users)):
        await shim.image_files.clear()
        users = [user for user in users if not is_leftover(user)]
    if users:
        names = ", ".join(text(user, "Id")[:12] for user in users[:5])
        raise FailedPrecondition(f"image {asked} is used by container {names}", subject=record.id)
    # With the containerd store an image can be removed although others are built on it, and the
    # list takes seconds there.
    children = [] if shim.engine.containerd_store else await shim.engine.images.children(record.id)
    if children:
        names = ", ".join(child.removeprefix("sha256:")[:12] for child in children[:5])
        raise FailedPrecondition(
            f"image {asked} has images that are built on it: {names}", subject=record.id
        )


def _uses(shim: Shim, summary: Document, record: ImageRecord) -> bool:
    if summary.get("ImageID") == record.id:
        return True
    known = shim.store.containers.get(ContainerId(text(summary, "Id")))
    if known is not None and any(
        mount.image.image_ref == record.id for mount in known.status.mounts
    ):
        return True
    for mount in sequence(summary, "Mounts"):
        if text(mount, "Type") == "image":
            image = shim.store.image(text(mount, "Name") or text(mount, "Source"))
            if image is not None and image.id == record.id:
                return True
    return False


async def _remove(shim: Shim, record: ImageRecord) -> None:
    """By one name after the other: by id the engine refuses an image with several names, and force
    would remove the names of an image in use. At the end by id too: with the containerd store an
    image that others are built on stays without a name, though the engine says that it is deleted.
    """
    untagged: list[str] = []
    try:
        for name in (*record.image.repo_tags, *record.image.repo_digests, record.id):
            try:
                await shim.engine.images.remove(name)
            except NotFound:
                continue
            untagged.append(name)
    except FailedPrecondition:
        # It came into use in the meantime.
        await _restore(shim, record, untagged)
        raise


async def _restore(shim: Shim, record: ImageRecord, names: list[str]) -> None:
    """Give back the tags that are gone; the digests of a registry cannot be given by hand."""
    for name in names:
        if name not in record.image.repo_tags:
            continue
        reference = parse_reference(name)
        try:
            await shim.engine.images.tag(record.id, reference.repository, reference.tag)
        except ServiceError as error:
            _logger.warning("the name %s of %s could not be given back: %s", name, record.id, error)
