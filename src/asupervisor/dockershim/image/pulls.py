"""Pulling images: one pull for each reference and credentials, joined by callers that come
meanwhile, stopped when none is left.

The progress deadline counts from the last sign of progress: a layer that is in another state, or of
which more was downloaded, verified or extracted. An entry that repeats the one before does not
count."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup

from asupervisor.engine.client import EngineClient
from asupervisor.engine.session import Document
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from asupervisor.node.images import ImageFeed
from asupervisor.node.records import ImageRecord
from asupervisor.node.store import NodeStore
from asupervisor.single_flight import Flight
from asupervisor.translate.images import Reference, check_runnable
from asupervisor.translate.pull_errors import PullProgress, pull_error, refused_pull

_logger = logging.getLogger(__name__)


class _Pull(Flight[ImageRecord]):
    __slots__ = ("progress", "scope", "waiters")

    def __init__(self, name: str) -> None:
        super().__init__(f"the pull of {name}", name)
        self.waiters = 0
        self.scope = anyio.CancelScope()
        self.progress = PullProgress()


class Pulls:
    """The pulls under way.

    Args:
        tasks: where they run.
        engine: does them.
        images, store: show the image before a pull is answered.
        progress_deadline_s: seconds without any progress after which a pull is given up.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        engine: EngineClient,
        images: ImageFeed,
        store: NodeStore,
        progress_deadline_s: float,
    ) -> None:
        self._tasks = tasks
        self._engine = engine
        self._images = images
        self._store = store
        self._progress_deadline_s = progress_deadline_s
        self._running: dict[tuple[str, str], _Pull] = {}

    async def pull(self, reference: Reference, auth: Document | None) -> ImageRecord:
        """Pull an image and return it as the node has it then.

        Raises:
            ServiceError: by its cause: NotFound, Unauthenticated, PermissionDenied, Unavailable,
                DeadlineExceeded; FailedPrecondition and ResourceExhausted of an image that is not
                run, which is not kept.
        """
        secret = hashlib.sha256(repr(sorted((auth or {}).items())).encode()).hexdigest()
        pull = self._running.get((reference.name, secret))
        if pull is None:
            pull = self._running[reference.name, secret] = _Pull(reference.name)
            self._tasks.start_soon(
                self._run,
                (reference.name, secret),
                partial(self._pull, reference, auth, pull),
                name=f"pull {reference.name}",
            )
        pull.waiters += 1
        try:
            return await pull.wait()
        finally:
            pull.waiters -= 1
            if pull.waiters == 0:
                pull.scope.cancel()

    def layers(self, name: str) -> list[list[str | int]]:
        """How far the layers of an image are that is being pulled, by its full name; see
        :meth:`PullProgress.layers`.
        """
        running = [pull for (its_name, _), pull in self._running.items() if its_name == name]
        return running[0].progress.layers() if running else []

    async def _run(self, key: tuple[str, str], work: Callable[[], Awaitable[ImageRecord]]) -> None:
        try:
            await self._running[key].run(work)
        finally:
            del self._running[key]

    async def _pull(self, reference: Reference, auth: Document | None, pull: _Pull) -> ImageRecord:
        started = time.monotonic()
        with pull.scope:
            before = self._store.image(reference.name)
            try:
                async with self._images.changing(reference.name):
                    await self._follow(reference, auth, pull.progress)
                record = self._usable(reference)
            except (FailedPrecondition, ResourceExhausted):
                if before is None:
                    await self._drop(reference)
                raise
            _logger.info(
                "pulled %s in %.1f s",
                reference.name,
                time.monotonic() - started,
                extra={"image": reference.name},
            )
            return record
        _logger.info("pull of %s was given up by its callers", reference.name)
        raise Unavailable(
            f"the pull of {reference.name} was given up: no caller waited for it any more"
        )

    def _usable(self, reference: Reference) -> ImageRecord:
        """An image that was pulled.

        Raises:
            NotFound: it has nothing for this platform.
            FailedPrecondition: its configuration is too long for it to be run.
        """
        record = self._store.usable_image(reference.name)
        if record is None:
            raise NotFound(
                f"Docker Engine reported a pull of {reference.name} and then had no content of it"
                " for this node's platform",
                subject=reference.name,
            )
        check_runnable(record.config_bytes, record.id, reference.name)
        return record

    async def _drop(self, reference: Reference) -> None:
        """Remove a pulled image that this service does not run, by its name: otherwise the engine
        would have the configurations of all such images in every list of images.
        """
        record = self._store.image(reference.name)
        try:
            # By its id, so that it is in no list any more when the pull is answered.
            async with self._images.changing(record.id if record else reference.name):
                await self._engine.images.remove(reference.name)
        except NotFound:
            return
        except ServiceError as error:
            _logger.warning(
                "image %s is not run, and could not be removed: %s", reference.name, error
            )

    async def _follow(
        self, reference: Reference, auth: Document | None, moves: PullProgress
    ) -> None:
        with anyio.move_on_after(self._progress_deadline_s) as scope:
            try:
                async with self._engine.images.pull(
                    reference.repository, reference.digest or reference.tag, auth
                ) as progress:
                    async for step in progress:
                        if moves.moved(step):
                            scope.deadline = anyio.current_time() + self._progress_deadline_s
                        if (error := pull_error(reference.name, step)) is not None:
                            raise error
            except (
                Internal,
                NotFound,
                FailedPrecondition,
                Unauthenticated,
                PermissionDenied,
            ) as refused:
                if refused.operation != "pull_image":
                    raise
                # Before anything was loaded, the engine gives a registry's refusal as an HTTP
                # status of its own.
                raise refused_pull(reference.name, refused) from refused
        if scope.cancelled_caught:
            raise DeadlineExceeded(
                f"pulling {reference.name} made no progress for {self._progress_deadline_s:g} s",
                subject=reference.name,
            )
