"""Records of images out of the engine's documents."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any

from asupervisor.node.records import ImageId, ImageRecord
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field
from asupervisor.translate.images import ImageSummary, bounded_document, cri_image, has_content


def image_record(
    document: dict[str, Any], pinned: bool, summary: ImageSummary | None = None, machine: str = ""
) -> ImageRecord:
    """An image out of its inspect document.

    Args:
        document: ``GET /images/{name}/json``.
        pinned: whether kubelet must never collect it.
        summary: of the engine's list; None where it was read alone.
        machine: ``Architecture`` of the engine's ``/info``.
    """
    image, (kept, config_bytes) = cri_image(document, pinned, summary), bounded_document(document)
    return ImageRecord(
        id=ImageId(image.id),
        image=image,
        document=kept,
        config_bytes=config_bytes,
        item_bytes=encode_field(1, image),
        summary=summary,
        usable=has_content(document, machine),
    )


def without_names(record: ImageRecord, names: Container[str]) -> ImageRecord:
    """The same image after another one took these names."""
    image = cri.Image()
    image.CopyFrom(record.image)
    for field, kept in (
        (image.repo_tags, [name for name in image.repo_tags if name not in names]),
        (image.repo_digests, [name for name in image.repo_digests if name not in names]),
    ):
        del field[:]
        field.extend(kept)
    return replace(record, image=image, item_bytes=encode_field(1, image), summary=None)
