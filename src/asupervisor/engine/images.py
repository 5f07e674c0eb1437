"""``/images``: one method for each endpoint, options in, result out."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import orjson

from asupervisor.engine.session import Document, EngineSession, decode
from asupervisor.errors import Unavailable
from asupervisor.translate.documents import text

_STEP_BYTES = 1 << 20
"""Most bytes of one entry of a pull's progress, which may contain what a registry answered."""
_LISTED_MANIFESTS_SINCE = (1, 47)
_INSPECTED_MANIFESTS_SINCE = (1, 48)


class ImagesApi:
    """Images of the engine, by id or reference."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    async def list_all(
        self, while_down: bool = False, timeout_s: float | None = None
    ) -> list[Document]:
        """``GET /images/json``: every image that is not an intermediate layer, with ``Manifests``
        where the engine can tell them.
        """
        return await self._session.documents(
            "images/json",
            "list_images",
            params=self._manifests_since(_LISTED_MANIFESTS_SINCE),
            while_down=while_down,
            timeout_s=timeout_s,
        )

    async def children(self, image_id: str) -> list[str]:
        """Ids of the images that the engine built or committed from this one. With the classic
        image store it cannot be removed while it has any.
        """
        answer = await self._session.documents("images/json", "list_images", params={"all": "1"})
        return [text(entry, "Id") for entry in answer if entry.get("ParentId") == image_id]

    async def inspect(
        self, reference: str, while_down: bool = False, timeout_s: float | None = None
    ) -> Document:
        """``GET /images/{name}/json``, with ``Manifests`` where the engine can tell them.

        Raises:
            NotFound: no such image.
        """
        return await self._session.document(
            "GET",
            f"images/{quote(reference, safe='/:@')}/json",
            "inspect_image",
            reference,
            params=self._manifests_since(_INSPECTED_MANIFESTS_SINCE),
            while_down=while_down,
            timeout_s=timeout_s,
        )

    def _manifests_since(self, version: tuple[int, int]) -> dict[str, str]:
        return {"manifests": "1"} if self._session.api_version >= version else {}

    async def remove(self, reference: str) -> None:
        """``DELETE /images/{name}``."""
        path = f"images/{quote(reference, safe='/:@')}"
        await self._session.json("DELETE", path, "remove_image", reference)

    async def tag(self, reference: str, repository: str, tag: str) -> None:
        """``POST /images/{name}/tag``."""
        path = f"images/{quote(reference, safe='/:@')}/tag"
        await self._session.json(
            "POST", path, "tag_image", reference, params={"repo": repository, "tag": tag}
        )

    async def load(self, archive: bytes, name: str) -> None:
        """``POST /images/load`` of a ``docker save`` archive; ``name`` is for errors only."""
        headers = {"Content-Type": "application/x-tar"}
        async with self._session.response(
            "POST",
            "images/load",
            "load_image",
            name,
            params={"quiet": "1"},
            data=archive,
            headers=headers,
        ) as response:
            await response.read()

    @asynccontextmanager
    async def pull(
        self, repository: str, tag_or_digest: str, auth: Document | None
    ) -> AsyncIterator[AsyncIterator[Document]]:
        """``POST /images/create``: yields the engine's progress documents; leaving early stops the
        pull.

        Args:
            repository: without tag or digest.
            tag_or_digest: ``1.36`` or ``sha256:…``.
            auth: the engine's AuthConfig (``username``, ``password``, ``identitytoken``,
                ``registrytoken``, ``serveraddress``).

        Raises:
            Unavailable: an entry of its progress is over 1 MiB.
        """
        headers = {}
        if auth:
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(orjson.dumps(auth)).decode()
        params = {"fromImage": repository, "tag": tag_or_digest}
        subject = f"{repository}{'@' if ':' in tag_or_digest else ':'}{tag_or_digest}"
        async with self._session.response(
            "POST",
            "images/create",
            "pull_image",
            subject,
            params=params,
            headers=headers,
            stream=True,
        ) as response:

            async def progress() -> AsyncIterator[Document]:
                buffer = bytearray()
                async for chunk in response.content.iter_any():
                    *complete, rest = chunk.split(b"\n")
                    for line in complete:
                        buffer += line
                        if buffer.strip():
                            yield decode(bytes(buffer), "pull_image", subject)
                        buffer.clear()
                    buffer += rest
                    if len(buffer) > _STEP_BYTES:
                        raise Unavailable(
                            f"pulling {subject}: Docker Engine sent more than {_STEP_BYTES} bytes"
                            " in one entry of its progress; the registry's answer may be that long",
                            operation="pull image",
                            subject=subject,
                        )
                if buffer.strip():
                    yield decode(bytes(buffer), "pull_image", subject)

            yield progress()
