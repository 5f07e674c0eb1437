"""Keeps the images of the node state in step with the engine.

An event, or the verb that changed something, names an image; that one alone is inspected. The list
of all images costs an engine seconds with the containerd image store, so it is read at the start
and by the audit only, and of what it lists only those images are inspected whose summary is another
than before."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import TaskGroup

from asupervisor.engine.client import EngineClient
from asupervisor.engine.session import Document
from asupervisor.errors import NotFound, PermissionDenied, ServiceError, Unavailable
from asupervisor.node.build_image import image_record
from asupervisor.node.records import ImageRecord
from asupervisor.node.refresh import Apply, Refresher
from asupervisor.node.retries import Retries
from asupervisor.node.store import NodeStore
from asupervisor.single_flight import Flight
from asupervisor.translate.documents import text
from asupervisor.translate.images import (
    ImageSummary,
    image_names,
    image_summary,
    is_image_id,
    parse_reference,
)

_logger = logging.getLogger(__name__)
_LIST_DEADLINE_S = 60.0
_INSPECT_DEADLINE_S = 20.0
_AT_ONCE = 4
"""Inspects of a full reading that may be under way: each costs the engine a walk over the image."""
_ALL = "images"


class ImageFeed:
    """The only writer of the node's images.

    Args:
        engine: asked for documents.
        store: written.
        tasks: where readings run.
        pinned: whether an image with these names must never be collected (the pause image).
    """

    def __init__(
        self,
        engine: EngineClient,
        store: NodeStore,
        tasks: TaskGroup,
        pinned: Callable[[Iterable[str]], bool],
    ) -> None:
        self._engine = engine
        self._store = store
        self._pinned = pinned
        self._retries = Retries(_logger)
        self._refresher = Refresher(tasks, self._read, on_failure=self._retries.failed)
        self._held: Counter[str] = Counter()
        self._touched: set[str] = set()
        """Ids of the images that were read alone since the last list was asked for: for them that
        list may be out of date.
        """

    def take(self, event: Document) -> None:
        """An event of the engine's about an image."""
        actor = event.get("Actor")
        subject = actor.get("ID") if isinstance(actor, dict) else None
        if not isinstance(subject, str) or not subject or event.get("Action") == "prune":
            self.read_all()
        elif subject not in self._held:
            self._refresher.mark(subject)

    def read_all(self) -> Flight[None]:
        """Have every image read, in the background."""
        return self._refresher.mark(_ALL)

    def read_again(self) -> None:
        """Read again what could not be read before; called again and again."""
        self._retries.tell()
        for subject in self._retries.due():
            self._refresher.mark(subject)

    async def refresh(self, reference: str) -> None:
        """Have the store show an image as it is now, and the one that had its name before.

        Args:
            reference: the image's id, or one of its names in full.

        Raises:
            ServiceError: the engine could not be asked.
        """
        await self._refresher.mark(reference).wait()

    @asynccontextmanager
    async def changing(self, *references: str) -> AsyncIterator[None]:
        """A context in which a verb changes images. The events of the change start no reading: the
        first reference is read at the end, also after a failure.

        Raises:
            ServiceError: the engine could not be asked.
        """
        self._held.update(references)
        try:
            yield
        except ServiceError:
            await self._release(references).done.wait()
            raise
        except BaseException:
            self._release(references)
            raise
        await self._release(references).wait()

    def _release(self, references: tuple[str, ...]) -> Flight[None]:
        self._held.subtract(references)
        self._held = +self._held
        return self._refresher.mark(references[0])

    async def _read(self, subject: str) -> Apply:
        if subject == _ALL:
            return partial(self._apply_all, await self._read_all())
        try:
            record = await self._inspect(subject)
        except NotFound:
            return partial(self._gone, subject)
        return partial(self._apply, subject, record)

    async def _inspect(self, reference: str, summary: ImageSummary | None = None) -> ImageRecord:
        document = await self._engine.images.inspect(
            reference, while_down=True, timeout_s=_INSPECT_DEADLINE_S
        )
        names = image_names(document)
        return image_record(
            document,
            self._pinned((text(document, "Id"), *names.tags, *names.digests)),
            summary,
            str(self._engine.info.get("Architecture") or ""),
        )

    def _apply(self, subject: str, record: ImageRecord) -> None:
        self._retries.done(subject)
        self._touched.add(record.id)
        # A name has moved; its former holder may have lost other names too.
        for holder in self._store.put_image(record):
            self._touched.add(holder.id)
            self._refresher.mark(holder.id)

    def _gone(self, subject: str) -> None:
        self._retries.done(subject)
        if subject in self._store.images:
            self._touched.add(subject)
            self._store.remove_image(subject)
        elif (holder := self._store.image(subject)) is not None:
            self._refresher.mark(holder.id)

    async def _read_all(self) -> list[ImageRecord]:
        self._touched.clear()
        records: list[ImageRecord] = []
        changed: list[ImageSummary] = []
        for entry in await self._engine.images.list_all(
            while_down=True, timeout_s=_LIST_DEADLINE_S
        ):
            summary = image_summary(entry)
            if not summary.id:
                _logger.warning("going on without an image that the engine lists without an id")
                continue
            known = self._store.images.get(summary.id)
            if known is not None and known.summary == summary:
                records.append(known)
            else:
                changed.append(summary)
        pending, failures = iter(changed), list[ServiceError]()

        async def inspect() -> None:
            for summary in pending:
                try:
                    records.append(await self._inspect(summary.id, summary))
                    self._retries.done(summary.id)
                except NotFound:
                    continue
                except (Unavailable, PermissionDenied) as error:
                    failures.append(error)
                    return
                except ServiceError as error:
                    # One image that the engine cannot read must not hide the others.
                    self._retries.failed(summary.id, error)
                    if (known := self._store.images.get(summary.id)) is not None:
                        records.append(known)

        async with anyio.create_task_group() as tasks:
            for _ in range(_AT_ONCE):
                tasks.start_soon(inspect)
        if failures:
            raise failures[0]
        return records

    def _apply_all(self, records: list[ImageRecord]) -> None:
        self._retries.done(_ALL)
        newer = [record for id_, record in self._store.images.items() if id_ in self._touched]
        self._store.replace_images(record for record in records if record.id not in self._touched)
        for record in newer:
            for holder in self._store.put_image(record):
                self._refresher.mark(holder.id)
        self._store.images_known.set()


def pinned_matcher(references: Iterable[str]) -> Callable[[Iterable[str]], bool]:
    """Whether an image with these names is one that must never be collected.

    Args:
        references: tags, digests, both at once, or ids, in any spelling.
    """
    pinned = {
        f"sha256:{reference.removeprefix('sha256:')}"
        if is_image_id(reference)
        else parse_reference(reference).name
        for reference in references
    }
    return lambda names: not pinned.isdisjoint(names)
