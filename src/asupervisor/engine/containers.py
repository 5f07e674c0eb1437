"""``/containers``: one method for each endpoint, options in, result out."""

from __future__ import annotations

import io
import posixpath
import tarfile
from typing import Any

import anyio
import orjson

from asupervisor.engine.session import Document, EngineSession
from asupervisor.errors import DeadlineExceeded, FailedPrecondition, Internal, NotFound
from asupervisor.translate.documents import document_id

OWNED_LABEL = "io.kubernetes.docker.type"
"""Every container of a pod carries this label, so lists ask the engine for nothing else. It proves
nothing: an image can have it too.
"""

_LINKS = 8
"""Symbolic links that are followed to a file."""
_HEADER_BYTES = 256 << 10
"""Most bytes of an archive before its first content: names, and attributes of up to 64 KiB each."""


class ContainersApi:
    """Containers of the engine, by id."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    async def list_owned(
        self, while_down: bool = False, timeout_s: float | None = None
    ) -> list[Document]:
        """Every container that may be a pod's, as ``GET /containers/json`` lists it."""
        return await self.list_labelled(OWNED_LABEL, while_down, timeout_s)

    async def list_labelled(
        self, label: str, while_down: bool = False, timeout_s: float | None = None
    ) -> list[Document]:
        """Every container that carries a label, running or not."""
        params = {"all": "1", "filters": orjson.dumps({"label": [label]}).decode()}
        return await self._session.documents(
            "containers/json",
            "list_containers",
            params=params,
            while_down=while_down,
            timeout_s=timeout_s,
        )

    async def list_all(self) -> list[Document]:
        """Every container of the engine, running or not."""
        return await self._session.documents(
            "containers/json", "list_containers", params={"all": "1"}
        )

    async def inspect(
        self, container: str, while_down: bool = False, timeout_s: float | None = None
    ) -> Document:
        """``GET /containers/{id}/json``; ``container`` may be an id or a name.

        Raises:
            NotFound: no such container.
        """
        return await self._session.document(
            "GET",
            f"containers/{container}/json",
            "inspect_container",
            container,
            while_down=while_down,
            timeout_s=timeout_s,
        )

    async def create(self, name: str, body: Document) -> str:
        """``POST /containers/create``; returns the new id.

        Raises:
            AlreadyExists: another container holds the name.
            NotFound: the image is not there.
        """
        answer = await self._session.document(
            "POST", "containers/create", "create_container", name, params={"name": name}, body=body
        )
        return document_id(answer, "container")

    async def start(self, container: str) -> None:
        """``POST /containers/{id}/start``; a container that runs already is fine."""
        await self._post(container, "start", "start_container")

    async def stop(self, container: str, grace_s: int) -> None:
        """``POST /containers/{id}/stop``: the stop signal, then SIGKILL after ``grace_s`` seconds;
        its deadline covers the grace.

        A container that is stopped already is fine. With a grace of 0 the engine kills at once."""
        timeout_s = grace_s + self._session.timeout_s
        params = {"t": str(grace_s)}
        await self._post(container, "stop", "stop_container", params=params, timeout_s=timeout_s)

    async def remove(self, container: str, force: bool = False) -> None:
        """``DELETE /containers/{id}`` with its anonymous volumes; one that is gone already is
        fine.

        With force, the only conflict is that the engine is removing it already (for another client,
        or for an earlier call of this service). Then the engine is asked again until the container
        is gone, since it reports a failure only to the client that asked first.

        Raises:
            DeadlineExceeded: with force, the removal takes too long.
            FailedPrecondition: without force, it runs or is being removed.
        """
        params = {"v": "1", **({"force": "1"} if force else {})}
        end = anyio.current_time() + self._session.timeout_s
        pause_s = 0.02
        while True:
            try:
                await self._session.json(
                    "DELETE",
                    f"containers/{container}",
                    "remove_container",
                    container,
                    params=params,
                    timeout_s=max(0.0, end - anyio.current_time()),
                )
            except NotFound:
                return
            except FailedPrecondition as error:
                if not force:
                    raise
                if anyio.current_time() + pause_s > end:
                    raise DeadlineExceeded(
                        f"Docker Engine has not removed container {container[:12]}, which it is"
                        f" removing already, within {self._session.timeout_s:g} s",
                        operation="remove_container",
                        subject=container,
                    ) from error
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, 1.0)
            else:
                return

    async def update(self, container: str, body: Document) -> None:
        """``POST /containers/{id}/update``: resources of a container that exists."""
        await self._post(container, "update", "update_container", body=body)

    async def create_checkpoint(
        self, container: str, name: str, directory: str, timeout_s: float
    ) -> None:
        """``POST /containers/{id}/checkpoints``: CRIU's images below ``<directory>/<name>`` of the
        engine's host; the container runs on.
        """
        body = {"CheckpointID": name, "CheckpointDir": directory, "Exit": False}
        await self._post(
            container, "checkpoints", "create_checkpoint", body=body, timeout_s=timeout_s
        )

    async def _post(self, container: str, action: str, operation: str, **options: Any) -> None:
        path = f"containers/{container}/{action}"
        await self._session.json("POST", path, operation, container, **options)

    async def read_file(self, container: str, path: str, limit_bytes: int = 4 << 20) -> bytes:
        """``GET /containers/{id}/archive`` of one regular file, running or not; symbolic links are
        followed.

        Args:
            path: absolute, in the container.
            limit_bytes: the most that the file may have; a longer one is not read to its end.

        Raises:
            NotFound: no such file in the container.
            FailedPrecondition: it is longer than the limit, or the engine cannot read it.
        """
        for _ in range(_LINKS):
            member, content = await self._first_member(container, path, limit_bytes)
            if member.issym():
                path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
            elif not member.isreg():
                break
            elif member.size > limit_bytes:
                raise FailedPrecondition(f"{path} is longer than {limit_bytes} bytes")
            else:
                return content[member.offset_data : member.offset_data + member.size]
        raise NotFound(
            f"{path} of container {container[:12]} is not a file",
            operation="read_file",
            subject=container,
        )

    async def _first_member(
        self, container: str, path: str, limit_bytes: int
    ) -> tuple[tarfile.TarInfo, bytes]:
        """The first entry of a path's archive, and the archive as far as it was read: a directory,
        or a file that is too long, is not read to its end.
        """
        request = ("GET", f"containers/{container}/archive", "read_file", container)
        content = bytearray()
        try:
            async with self._session.response(
                *request, params={"path": path}, stream=True
            ) as response:
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > limit_bytes + _HEADER_BYTES:
                        break
            # Never decompressed: a few bytes could become gigabytes.
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
                member = archive.next()
        except (Internal, tarfile.TarError) as error:
            raise FailedPrecondition(
                f"Docker Engine cannot read {path}: {error}",
                operation="read_file",
                subject=container,
            ) from error
        if member is None:
            raise FailedPrecondition(f"Docker Engine has an empty archive of {path}")
        return member, bytes(content)

    async def has_path(self, container: str, path: str) -> bool:
        """Whether a container, running or not, has that path: ``GET /containers/{id}/archive``,
        closed once the answer begins.

        Raises:
            FailedPrecondition: the engine cannot look the path up.
        """
        request = ("GET", f"containers/{container}/archive", "look_for_path", container)
        try:
            # Not HEAD: the engine's error answers to it have no body, which aiodocker cannot
            # handle.
            async with self._session.response(*request, params={"path": path}, stream=True):
                return True
        except NotFound:
            return False
        except Internal as error:  # such as links that lead in circles
            raise FailedPrecondition(
                f"Docker Engine cannot look up {path}: {error.message}",
                operation="look_for_path",
                subject=container,
            ) from error
