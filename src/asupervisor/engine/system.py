"""``/_ping``, ``/version``, ``/info``, ``/events``: the engine as a whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from asupervisor.engine.session import Document, EngineSession, decode
from asupervisor.errors import Internal, Unavailable
from asupervisor.translate.documents import whole

_EVENT_BYTES = 256 << 10
"""Bytes of one event that are kept; of a longer one only type, action and id are read."""
_EVENT_HEAD = re.compile(
    rb'"Type": ?"([a-z]+)", ?"Action": ?"([^"\\]+)", ?"Actor": ?\{"ID": ?"([^"\\]+)"'
)
_CONTAINER_EVENTS = (
    "create",
    "start",
    "die",
    "destroy",
    "rename",
    "update",
    "oom",
    "pause",
    "unpause",
)
_TYPED_DISK_USAGE_SINCE = (1, 42)
_IMAGE_EVENTS = ("pull", "load", "import", "tag", "untag", "delete")


class SystemApi:
    """The engine as a whole."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    async def ping(self, timeout_s: float) -> None:
        """``GET /_ping``, even while the engine counts as down.

        Args:
            timeout_s: deadline in seconds.
        """
        async with self._session.response(
            "GET", "_ping", "ping", timeout_s=timeout_s, versioned=False, while_down=True
        ) as response:
            await response.read()

    async def version(self, timeout_s: float | None = None) -> Document:
        """``GET /version``, without a version in the path, so that any engine answers it."""
        return await self._session.document(
            "GET", "version", "version", timeout_s=timeout_s, versioned=False, while_down=True
        )

    async def info(self, timeout_s: float | None = None, while_down: bool = False) -> Document:
        """``GET /info``: cgroup driver, runtimes, log driver, data root, storage driver."""
        return await self._session.document(
            "GET", "info", "info", timeout_s=timeout_s, while_down=while_down
        )

    async def image_bytes(self, timeout_s: float) -> int:
        """What the engine's images take on the disk, shared layers once: ``GET /system/df``.

        Before API 1.42 the engine cannot be asked for images alone; then it measures its containers
        too, which can take long.

        Args:
            timeout_s: deadline in seconds.
        """
        params = {"type": "image"} if self._session.api_version >= _TYPED_DISK_USAGE_SINCE else {}
        answer = await self._session.document(
            "GET", "system/df", "disk_usage", params=params, timeout_s=timeout_s
        )
        for key in ("ImageUsage", "ImagesDiskUsage"):  # since API 1.52
            if isinstance(answer.get(key), dict):
                return whole(answer, key, "TotalSize", low=0)
        return whole(answer, "LayersSize", low=0)

    @asynccontextmanager
    async def events(self, timeout_s: float) -> AsyncIterator[AsyncIterator[Document | None]]:
        """``GET /events`` of containers and images: subscribed once the context is entered.

        Args:
            timeout_s: deadline in seconds for the subscription itself; the stream has none.

        Yields:
            An iterator over event documents. One that is too long has only its type, action and
            actor's id; one that cannot be read is None. An event carries all labels of its object,
            which have no bound. The iterator ends with Unavailable when the engine ends the stream.
        """
        filters = orjson.dumps(
            {"type": ["container", "image"], "event": [*_CONTAINER_EVENTS, *_IMAGE_EVENTS]}
        ).decode()
        async with self._session.response(
            "GET",
            "events",
            "events",
            params={"filters": filters},
            timeout_s=timeout_s,
            stream=True,
            while_down=True,
        ) as response:

            async def lines() -> AsyncIterator[Document | None]:
                async for line, is_whole in _lines(response.content.iter_any()):
                    yield _event(line, is_whole)
                raise Unavailable("Docker Engine ended the event stream", operation="events")

            yield lines()


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """Cut a stream into lines: each with whether it is whole; of a long one the beginning."""
    kept = bytearray()
    skipping = False
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            if len(kept) < _EVENT_BYTES:
                kept += end
            if kept.strip():
                yield bytes(kept[:_EVENT_BYTES]), not skipping and len(kept) <= _EVENT_BYTES
            kept.clear()
            skipping = False
        if not skipping:
            kept += rest
            skipping = len(kept) > _EVENT_BYTES


def _event(line: bytes, is_whole: bool) -> Document | None:
    if is_whole:
        try:
            document = decode(line, "events")
        except Internal:
            return None
        return document if isinstance(document, dict) else None
    # Quotes inside of a JSON string are escaped, so this is never found in one.
    found = _EVENT_HEAD.search(line)
    if found is None:
        return None
    kind, action, any_id = (part.decode("ascii", "replace") for part in found.groups())
    return {"Type": kind, "Action": action, "Actor": {"ID": any_id}}
