"""Hijacked connections: the raw byte streams of an exec or an attachment, on a socket of their own.

``POST …/start`` and ``POST …/attach`` answer 101 and from then on carry stdin one way and output
the other. Without a terminal output comes in frames (``translate/stream_frames.py``).

The connections are made here and not by the request pool: each lasts as long as a client likes and
would take a connection of the pool from the requests, and stdin has to be closed on its own, which
the pool cannot do."""

from __future__ import annotations

import os
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiodocker
import anyio
import anyio.abc
import anyio.lowlevel
import h11
import orjson

from asupervisor.engine.session import Document, EngineSession, error_words
from asupervisor.errors import DeadlineExceeded, Internal, ServiceError, Unavailable
from asupervisor.host.unix_stream import UnixStream
from asupervisor.http_upgrade import request_upgrade
from asupervisor.tls_stream import secure
from asupervisor.translate.documents import document_id
from asupervisor.translate.stream_frames import STDOUT, StreamFrames, runs

_READ_BYTES = 64 * 1024
_DETACH_KEYS = "ctrl-@,ctrl-^,ctrl-_,ctrl-@"
"""A sequence that is never typed. The engine's own (ctrl-p, ctrl-q) would hold every ctrl-p back
until the next key.
"""


class Hijacked:
    """One hijacked connection.

    Args:
        stream: the connection.
        received: bytes that came after the answer's head.
        framed: whether output comes in frames; False with a terminal.
    """

    def __init__(self, stream: anyio.abc.ByteStream, received: bytes, framed: bool) -> None:
        self._stream = stream
        self._received = received
        self._framed = framed
        self._ready: deque[tuple[int, bytes]] = deque()
        self._frames = StreamFrames()

    async def receive(self) -> tuple[int, bytes]:
        """The next output: the number of its stream (1 stdout, 2 stderr) and its bytes, never none.

        Raises:
            anyio.EndOfStream: there is no more.
            Unavailable: the engine broke off.
        """
        while not self._ready:
            if self._frames.pending:
                self._ready.extend(runs(self._frames.take()))
                # Lets other tasks run, also when no output was found.
                await anyio.lowlevel.checkpoint()
                continue
            data, self._received = self._received, b""
            if not data:
                try:
                    data = await self._stream.receive(_READ_BYTES)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                    raise Unavailable(
                        "Docker Engine broke off a stream", operation="stream"
                    ) from error
            if not self._framed:
                return STDOUT, data
            self._frames.feed(data)
        return self._ready.popleft()

    async def send(self, data: bytes) -> None:
        """Write to stdin; waits while it is not read.

        Raises:
            anyio.BrokenResourceError: it will not be read any more.
        """
        try:
            await self._stream.send(data)
        except anyio.ClosedResourceError as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Close stdin. Does nothing over TLS, which cannot close one direction."""
        try:
            await self._stream.send_eof()
        except NotImplementedError:
            return
        except (
            anyio.ClosedResourceError,
            OSError,
            RuntimeError,
        ) as error:  # RuntimeError: uvloop, once the engine has closed
            raise anyio.BrokenResourceError from error

    async def cut(self) -> None:
        """Close the connection at once: a :meth:`receive` that waits raises
        :class:`asupervisor.errors.Unavailable`.
        """
        await anyio.aclose_forcefully(self._stream)


class StreamsApi:
    """The endpoints that hijack, and those that go with them.

    Args:
        session: makes the requests that do not hijack; gives endpoint, API version and health.
    """

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    async def create_exec(
        self,
        container: str,
        command: list[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
    ) -> str:
        """``POST /containers/{id}/exec``. Returns the exec's id.

        Raises:
            NotFound: no such container.
            FailedPrecondition: it does not run.
        """
        body = {
            "Cmd": command,
            "Tty": tty,
            "AttachStdin": stdin,
            "AttachStdout": stdout,
            "AttachStderr": stderr,
            "DetachKeys": _DETACH_KEYS,
        }
        answer = await self._session.document(
            "POST", f"containers/{container}/exec", "create_exec", container, body=body
        )
        return document_id(answer, "command")

    def start_exec(self, exec_id: str, *, tty: bool) -> AbstractAsyncContextManager[Hijacked]:
        """``POST /exec/{id}/start``; the exec's streams for as long as the context lasts.

        Raises:
            NotFound: no such exec.
            FailedPrecondition: its container does not run any more.
        """
        body = {"Detach": False, "Tty": tty}
        return self._hijack(
            f"exec/{exec_id}/start", "start_exec", exec_id, body=body, framed=not tty
        )

    @asynccontextmanager
    async def exec_output(self, exec_id: str) -> AsyncIterator[Any]:
        """``POST /exec/{id}/start`` of a command that reads nothing and has no terminal, without
        hijacking: a context manager that gives a response, whose body is its output in frames.

        Raises:
            NotFound, FailedPrecondition: as :meth:`start_exec`.
            Unavailable: the engine broke off, also where that is known only once the body was read.
        """
        body = {"Detach": False, "Tty": False}
        async with self._session.response(
            "POST", f"exec/{exec_id}/start", "start_exec", exec_id, body=body, stream=True
        ) as response:
            protocol = response.connection.protocol if response.connection is not None else None
            yield response
            # The body ends with the connection, and the client library takes one that broke for
            # one that was closed.
            if protocol is not None and isinstance(protocol.exception(), OSError):
                raise Unavailable(
                    f"Docker Engine broke off the output of exec {exec_id[:12]}",
                    operation="start_exec",
                    subject=exec_id,
                )

    async def inspect_exec(self, exec_id: str) -> Document:
        """``GET /exec/{id}/json``: ``Running``, ``ExitCode``, ``Pid`` as the host sees it."""
        return await self._session.document("GET", f"exec/{exec_id}/json", "inspect_exec", exec_id)

    async def resize_exec(self, exec_id: str, width: int, height: int, timeout_s: float) -> None:
        """``POST /exec/{id}/resize``, in characters.

        Raises:
            ServiceError: it is not running yet, or not any more.
        """
        await self._resize(f"exec/{exec_id}", "resize_exec", exec_id, (width, height), timeout_s)

    def attach(
        self, container: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> AbstractAsyncContextManager[Hijacked]:
        """``POST /containers/{id}/attach``; its streams from now on, for as long as the context
        lasts.

        Args:
            tty: whether the container has a terminal, whatever the client has.

        Raises:
            NotFound: no such container.
            FailedPrecondition: it is paused or restarting.
        """
        flags = {
            "stream": True,
            "logs": False,
            "stdin": stdin,
            "stdout": stdout,
            "stderr": stderr and not tty,
        }
        params = {name: "1" if value else "0" for name, value in flags.items()}
        params["detachKeys"] = _DETACH_KEYS
        path = f"containers/{container}/attach"
        return self._hijack(path, "attach_container", container, params=params, framed=not tty)

    async def resize_container(
        self, container: str, width: int, height: int, timeout_s: float
    ) -> None:
        """``POST /containers/{id}/resize``, in characters.

        Raises:
            ServiceError: it does not run.
        """
        path = f"containers/{container}"
        await self._resize(path, "resize_container", container, (width, height), timeout_s)

    async def _resize(
        self, path: str, operation: str, subject: str, size: tuple[int, int], timeout_s: float
    ) -> None:
        params = {"w": str(size[0]), "h": str(size[1])}
        await self._session.json(
            "POST", f"{path}/resize", operation, subject, params=params, timeout_s=timeout_s
        )

    @asynccontextmanager
    async def _hijack(
        self,
        path: str,
        operation: str,
        subject: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Document | None = None,
        framed: bool,
    ) -> AsyncIterator[Hijacked]:
        session = self._session
        session.health.require(operation.replace("_", " "), subject)
        target = f"/v{session.api_version[0]}.{session.api_version[1]}/{path}" + (
            f"?{urlencode(params)}" if params else ""
        )
        started = time.monotonic()
        failure: ServiceError | None = None
        try:
            stream, received = await self._open(target, body, operation, subject)
        except ServiceError as error:
            failure = error
            raise
        finally:
            session.observer(operation, time.monotonic() - started, failure)
        try:
            yield Hijacked(stream, received, framed)
        finally:
            await anyio.aclose_forcefully(stream)

    async def _open(
        self, target: str, body: Document | None, operation: str, subject: str
    ) -> tuple[anyio.abc.ByteStream, bytes]:
        """Connect and upgrade; a connection that does not get that far is closed."""
        endpoint, timeout_s = self._session.endpoint, self._session.timeout_s
        stream: anyio.abc.ByteStream | None = None
        try:
            with anyio.fail_after(timeout_s):
                stream = await _connect(endpoint)
                return stream, await self._upgrade(stream, target, body, operation, subject)
        except BaseException as error:
            if stream is not None:
                await anyio.aclose_forcefully(stream)
            where = {"operation": operation, "subject": subject}
            if isinstance(error, TimeoutError):
                what = f"{operation.replace('_', ' ')} {subject}"
                raise DeadlineExceeded(
                    f"Docker Engine did not answer {what} within {timeout_s:g} s", **where
                ) from error
            if isinstance(error, OSError | anyio.BrokenResourceError | anyio.EndOfStream):
                if stream is None:
                    raise self._session.absent(operation, subject) from error
                raise Unavailable(
                    f"Docker Engine broke off during {operation} {subject}", **where
                ) from error
            raise

    async def _upgrade(
        self,
        stream: anyio.abc.ByteStream,
        target: str,
        body: Document | None,
        operation: str,
        subject: str,
    ) -> bytes:
        """Ask for the stream. Returns the bytes of it that came with the answer."""
        content = orjson.dumps(body) if body is not None else b""
        headers = [
            ("Host", "engine"),
            ("Connection", "Upgrade"),
            ("Upgrade", "tcp"),
            ("Content-Length", str(len(content))),
        ]
        headers += [("Content-Type", "application/json")] if content else []
        request = h11.Request(method="POST", target=target, headers=headers)
        try:
            answer = await request_upgrade(stream, request, content)
        except h11.RemoteProtocolError as error:
            raise Internal(
                f"Docker Engine answered {operation} with something that is not HTTP",
                operation=operation,
                subject=subject,
            ) from error
        if answer.status != 101:
            raise self._session._convert(
                aiodocker.DockerError(answer.status, error_words(answer.data)), operation, subject
            )
        return answer.data


async def _connect(endpoint: str) -> anyio.abc.ByteStream:
    if endpoint.startswith("unix://"):
        return await UnixStream.connect(endpoint.removeprefix("unix://"))
    parts = urlsplit(endpoint)
    certificates = os.environ.get("DOCKER_CERT_PATH", "")
    is_secure = parts.scheme == "https" or (parts.scheme == "tcp" and bool(certificates))
    host, port = parts.hostname or "", parts.port or (2376 if is_secure else 2375)
    if not is_secure:
        return await anyio.connect_tcp(host, port)
    context = ssl.create_default_context(
        cafile=os.path.join(certificates, "ca.pem") if certificates else None
    )
    if certificates:
        context.load_cert_chain(
            os.path.join(certificates, "cert.pem"), os.path.join(certificates, "key.pem")
        )
    return await secure(await anyio.connect_tcp(host, port), context, host)
