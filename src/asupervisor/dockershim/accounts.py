"""What has to be known of the files of an image: its users and groups, and whether it has a path.
Read through the engine once.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from asupervisor.dockershim.operations import Operations
from asupervisor.engine.client import EngineClient
from asupervisor.engine.session import Document
from asupervisor.errors import AlreadyExists, NotFound, ServiceError
from asupervisor.translate.accounts import Accounts, parse_accounts

_logger = logging.getLogger("asupervisor.dockershim.container")
_REMEMBERED = 256
_NAME = "asupervisor-accounts-"
"""Beginning of the names of the containers made for readings."""
_LABEL = "io.asupervisor.temporary"
_CLEANUP_DEADLINE_S = 30.0


def is_leftover(summary: Document) -> bool:
    """Whether a container, as the engine lists it, was made for a reading by a process that was
    killed in the middle of it.
    """
    return any(name.startswith(f"/{_NAME}") for name in summary.get("Names") or [])


class ImageAccounts:
    """Reads /etc/passwd and /etc/group of images, and looks for paths; an image never changes, so
    what was read stays true.

    The engine shows the files of containers only, so a container that is never started is made for
    the time of the reading. It carries none of the labels by which containers are ours, so no list
    shows it.

    Args:
        engine: asked.
        operations: runs the reading, joined by whoever wants the same image meanwhile.
    """

    def __init__(self, engine: EngineClient, operations: Operations) -> None:
        self._engine = engine
        self._operations = operations
        self._known: OrderedDict[str, Accounts] = OrderedDict()
        self._paths: OrderedDict[tuple[str, str], bool] = OrderedDict()

    async def of(self, image_id: str) -> Accounts:
        """What an image knows; nothing where it has no such files.

        Raises:
            ServiceError: the engine could not be asked.
        """
        known = self._known.get(image_id)
        if known is not None:
            self._known.move_to_end(image_id)
            return known

        async def work() -> Accounts:
            accounts = self._known[image_id] = await self._read(image_id)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return accounts

        return await self._operations.run(f"accounts of {image_id}", "read", work)

    async def has_path(self, image_id: str, path: str) -> bool:
        """Whether an image has a file or directory of that path.

        Raises:
            ServiceError: the engine could not be asked.
        """
        known = self._paths.get((image_id, path))
        if known is not None:
            self._paths.move_to_end((image_id, path))
            return known

        async def work() -> bool:
            async with self._container(image_id) as container:
                found = self._paths[image_id, path] = await self._engine.containers.has_path(
                    container, path
                )
            while len(self._paths) > _REMEMBERED:
                self._paths.popitem(last=False)
            return found

        # Under the key of the other readings, since the container for them has one name.
        return await self._operations.run(f"accounts of {image_id}", f"look for {path}", work)

    async def clear(self) -> None:
        """Remove what a process that was killed in the middle of a reading left behind: it would
        keep its image from being removed.

        Raises:
            ServiceError: the engine could not be asked.
        """
        for summary in await self._engine.containers.list_labelled(_LABEL):
            image_id = str(summary.get("ImageID") or "")

            async def work(container: str = str(summary["Id"])) -> None:
                await self._engine.containers.remove(container, force=True)

            # Under the key of the reading, so that one under way is not disturbed; after it, its
            # container is gone anyhow.
            await self._operations.run(f"accounts of {image_id}", "clear", work)

    async def _read(self, image_id: str) -> Accounts:
        async with self._container(image_id) as container:
            return parse_accounts(
                await self._text(container, "/etc/passwd"),
                await self._text(container, "/etc/group"),
            )

    @asynccontextmanager
    async def _container(self, image_id: str) -> AsyncIterator[str]:
        name = f"{_NAME}{image_id.removeprefix('sha256:')[:32]}"
        body = {
            "Image": image_id,
            "Cmd": ["none"],
            "NetworkDisabled": True,
            "Labels": {_LABEL: "accounts"},
            "HostConfig": {"NetworkMode": "none"},
        }
        try:
            container = await self._engine.containers.create(name, body)
        except AlreadyExists:
            # Left behind by a process that was killed in the middle of this.
            await self._engine.containers.remove(name, force=True)
            container = await self._engine.containers.create(name, body)
        try:
            yield container
        finally:
            with anyio.CancelScope(
                shield=True, deadline=anyio.current_time() + _CLEANUP_DEADLINE_S
            ):
                try:
                    await self._engine.containers.remove(container, force=True)
                except ServiceError as error:
                    _logger.warning(
                        "the container %s, made to read an image, could not be removed: %s",
                        name,
                        error,
                    )

    async def _text(self, container: str, path: str) -> str:
        try:
            return (await self._engine.containers.read_file(container, path)).decode(
                errors="replace"
            )
        except NotFound:
            return ""
