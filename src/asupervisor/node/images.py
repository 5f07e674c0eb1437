"""Keeps the images of the node state in step with the engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from anyio.abc import TaskGroup

from asupervisor.engine.client import EngineClient
from asupervisor.engine.session import Document
from asupervisor.errors import Internal, NotFound
from asupervisor.node.build import image_record
from asupervisor.node.records import ImageRecord
from asupervisor.node.refresh import Apply, Outcome, Refresher
from asupervisor.node.store import NodeStore
from asupervisor.translate.images import parse_reference

_logger = logging.getLogger("asupervisor.node.images")
_DEADLINE_S = 60.0
_ALL = "images"


class ImageFeed:
    """The one writer of the node's images.

    Args:
        engine: asked for documents.
        store: written.
        tasks: where readings run.
        pinned: whether an image reference must never be collected (the pause image).
    """

    def __init__(
        self,
        engine: EngineClient,
        store: NodeStore,
        tasks: TaskGroup,
        pinned: Callable[[str], bool],
    ) -> None:
        self._engine = engine
        self._store = store
        self._pinned = pinned
        self._refresher = Refresher(tasks, self._read, on_failure=self._failed)
        self._unread: set[str] = set()

    def take(self, event: Document) -> None:
        """An event of the engine's about an image."""
        self._refresher.mark(_ALL)

    def read_all(self) -> Outcome:
        """Have every image read, in the background."""
        return self._refresher.mark(_ALL)

    def read_again(self) -> None:
        """Have read what could not be read before; called now and then."""
        for subject in tuple(self._unread):
            self._refresher.mark(subject)

    async def refresh(self) -> None:
        """Have the store show the images as they are now.

        Raises:
            ServiceError: the engine could not be asked.
        """
        await self._refresher.mark(_ALL).wait()

    def _failed(self, subject: str) -> None:
        if subject not in self._unread:
            _logger.warning(
                "%s could not be read from Docker Engine; shown as before, and tried again", subject
            )
        self._unread.add(subject)

    async def _read(self, subject: str) -> Apply:
        return partial(self._apply_all, await self._read_all())

    async def _read_all(self) -> list[ImageRecord]:
        """Images are listed as a whole; one that has kept its names is not inspected again."""
        records: list[ImageRecord] = []
        for summary in await self._engine.images.list_all(through_gate=True, timeout_s=_DEADLINE_S):
            known = self._store.images.get(str(summary["Id"]))
            names = (
                sorted(summary.get("RepoTags") or []),
                sorted(summary.get("RepoDigests") or []),
            )
            pinned = any(self._pinned(tag) for tag in summary.get("RepoTags") or [])
            if (
                known is not None
                and known.image.pinned == pinned
                and known.document.get("_names") == names
            ):
                records.append(known)
                continue
            try:
                document = await self._engine.images.inspect(
                    str(summary["Id"]), through_gate=True, timeout_s=_DEADLINE_S
                )
            except NotFound:
                continue
            except Internal as error:
                # One image that the engine cannot read must not hide the others.
                _logger.warning("going on without image %s: %s", summary["Id"], error)
                continue
            records.append(image_record({**document, "_names": names}, pinned))
        return records

    def _apply_all(self, records: list[ImageRecord]) -> None:
        self._unread.discard(_ALL)
        self._store.replace_images(records)


def pinned_matcher(references: Callable[[], tuple[str, ...]]) -> Callable[[str], bool]:
    """Whether a tag is one of the references that must never be collected, in whatever spelling."""

    def matches(tag: str) -> bool:
        return any(parse_reference(reference).name == tag for reference in references())

    return matches
