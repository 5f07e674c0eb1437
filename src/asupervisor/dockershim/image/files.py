"""What has to be known of the files of an image: its users and groups, and whether it has a path.

Read where the engine keeps the image's layers; where that cannot be done, through the engine. Most
containers need neither: the engine resolves their users (:mod:`asupervisor.translate.accounts`)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from asupervisor.dockershim.operations import Operations
from asupervisor.engine.client import EngineClient
from asupervisor.engine.endpoint import socket_path
from asupervisor.engine.layers import NotAtHand, has_image_path, layer_directories, read_image_file
from asupervisor.engine.session import Document
from asupervisor.errors import AlreadyExists, NotFound, ServiceError
from asupervisor.node.records import ImageRecord
from asupervisor.translate.accounts import Answer, Question, look_up
from asupervisor.translate.documents import mapping, text, texts

_logger = logging.getLogger(__name__)
_REMEMBERED = 256
_FILE_BYTES = 8 << 20
"""Most bytes of an account file: some 200 000 users. A longer one is an error."""
_THREADS = 2
"""Threads that read images' files: they wait for the disk, and long files take time."""
_NAME = "asupervisor-accounts-"
"""Beginning of the names of the containers made for readings."""
_LABEL = "io.asupervisor.temporary"
_NEVER_RAN = ("created", "removing", "dead")
"""States of such a container, which never runs; its removal may have begun."""
_CLEANUP_DEADLINE_S = 30.0

Result = TypeVar("Result")


def is_leftover(summary: Document) -> bool:
    """Whether a container, as the engine lists it, was made for a reading by a process that was
    killed in the middle of it: by its name, its label, and that it never ran.
    """
    return (
        any(name.startswith(f"/{_NAME}") for name in texts(summary, "Names"))
        and _LABEL in mapping(summary, "Labels")
        and summary.get("State") in _NEVER_RAN
    )


class ImageFiles:
    """Answers questions about the files of images; an image never changes, so an answer stays true.

    Where the layers are not at hand, the engine shows the files of containers only, so a container
    that is never started is made for the time of the reading. It has none of the labels of a pod's
    container, so no list shows it, and its volumes are covered with tmpfs, so that the engine
    copies nothing into them.

    Args:
        engine: asked.
        operations: runs a reading, joined by callers that ask the same of the same image meanwhile.
    """

    def __init__(self, engine: EngineClient, operations: Operations) -> None:
        self._engine = engine
        self._operations = operations
        self._known: OrderedDict[tuple[str, Question | str], Any] = OrderedDict()
        self._threads = anyio.CapacityLimiter(_THREADS)

    def at_hand(self, image: ImageRecord) -> bool:
        """Whether its layers are on this machine, so that reading it costs almost nothing."""
        return bool(self._layers(image))

    async def answer(self, image: ImageRecord, question: Question) -> Answer:
        """What an image's /etc/passwd and /etc/group say.

        Raises:
            ServiceError: the engine could not be asked.
            FailedPrecondition: a file is too long, or the part that is needed is malformed.
            InvalidArgument: the image must have the user, and does not.
        """

        async def read() -> Answer:
            try:
                return await self._in_thread(_look_up, self._layers(image), question)
            except NotAtHand:
                async with self._container(image) as container:
                    files = [
                        await self._file(container, path) for path in ("/etc/passwd", "/etc/group")
                    ]
                return await self._in_thread(look_up, question, *files)

        return await self._once(image, question, read)

    async def has_path(self, image: ImageRecord, path: str) -> bool:
        """Whether an image has a file or directory of that path.

        Raises:
            ServiceError: the engine could not be asked.
        """

        async def read() -> bool:
            try:
                return await self._in_thread(has_image_path, self._layers(image), path)
            except NotAtHand:
                async with self._container(image) as container:
                    return await self._engine.containers.has_path(container, path)

        return await self._once(image, path, read)

    async def _once(
        self, image: ImageRecord, what: Question | str, read: Callable[[], Awaitable[Result]]
    ) -> Result:
        """An answer that is known already, or else is found now, and kept."""
        key = (str(image.id), what)
        if key in self._known:
            self._known.move_to_end(key)
            found: Result = self._known[key]
            return found

        async def work() -> Result:
            answer = self._known[key] = await read()
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return answer

        # All under one key: the container for them has one name.
        return await self._operations.run(f"accounts of {image.id}", f"read {what}", work)

    def _layers(self, image: ImageRecord) -> tuple[str, ...]:
        local = socket_path(self._engine.endpoint) is not None
        return layer_directories(image.document) if local else ()

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await anyio.to_thread.run_sync(partial(work, *arguments), limiter=self._threads)

    async def clear(self) -> None:
        """Remove what a process that was killed in the middle of a reading left behind: it would
        keep its image from being removed.

        Raises:
            ServiceError: the engine could not be asked.
        """
        for summary in await self._engine.containers.list_labelled(_LABEL):
            if not is_leftover(summary):
                continue

            container = text(summary, "Id")

            async def work(container: str = container) -> None:
                await self._engine.containers.remove(container, force=True)

            # Under the key of the reading, so that a reading under way is not disturbed; after it
            # its container is gone.
            key = f"accounts of {text(summary, 'ImageID')}"
            await self._operations.run(key, f"clear {container}", work)

    @asynccontextmanager
    async def _container(self, image: ImageRecord) -> AsyncIterator[str]:
        name = f"{_NAME}{image.id.removeprefix('sha256:')[:32]}"
        body = _body(image.id, image.document)
        try:
            container = await self._engine.containers.create(name, body)
        except AlreadyExists:
            # Left by a process that was killed in the middle of this. Removed without force, so
            # that a running container, which is not ours, stays.
            await self._engine.containers.remove(name)
            container = await self._engine.containers.create(name, body)
        try:
            yield container
        finally:
            with anyio.move_on_after(_CLEANUP_DEADLINE_S, shield=True):
                try:
                    await self._engine.containers.remove(container, force=True)
                except ServiceError as error:
                    _logger.warning(
                        "the container %s, made to read an image, could not be removed: %s",
                        name,
                        error,
                    )

    async def _file(self, container: str, path: str) -> bytes:
        try:
            return await self._engine.containers.read_file(container, path, _FILE_BYTES)
        except NotFound:
            return b""


def _look_up(layers: tuple[str, ...], question: Question) -> Answer:
    passwd = read_image_file(layers, "/etc/passwd", _FILE_BYTES)
    return look_up(question, passwd, read_image_file(layers, "/etc/group", _FILE_BYTES))


def _body(image_id: str, document: Mapping[str, Any]) -> Document:
    """A container to look into."""
    return {
        "Image": image_id,
        "Cmd": ["none"],
        "NetworkDisabled": True,
        "Labels": {_LABEL: "accounts"},
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [
                {"Type": "tmpfs", "Target": path} for path in mapping(document, "Config", "Volumes")
            ],
        },
    }
