"""Connection pools to the engine, one for each lane: every request has a deadline, every failure
becomes one of our errors here.

aiodocker resolves the endpoint, owns the transport (unix, tcp, TLS) and reports errors. Its
endpoint classes are not used, since they neither release a failed response nor take a deadline for
each call."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiodocker
import aiohttp
import anyio
import orjson

from asupervisor.conditions import Reason
from asupervisor.engine.endpoint import (
    MINIMUM_API_VERSION,
    choose_api_version,
    diagnose,
    socket_path,
)
from asupervisor.engine.health import EngineHealth
from asupervisor.engine.lanes import Lane, lane_of
from asupervisor.errors import (
    MOST_WORDS,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
)

Document = dict[str, Any]
"""A JSON object of the engine API."""

EngineObserver = Callable[[str, float, ServiceError | None], None]
"""Called once after each engine request with its operation, its seconds and its error (metrics)."""

_ANSWER_BYTES = 32 << 20
"""Most bytes of an answer that is one object. A list has many objects."""
_LIST_BYTES = 512 << 20
_ERROR_BYTES = 4 << 20
"""Bytes of an answer that is an error; the rest of a longer one is not read."""
_LISTS = frozenset({"list_containers", "list_images"})
_KEPT_S = 3.0
"""Seconds that an idle connection is kept. The pool hands out the one that is idle longest, and the
probe asks for one every 0.75 s: with aiohttp's 15 s it would keep twenty open for ever after a
rush.
"""
_NO_DAEMON = 900
_CHUNK_BYTES = 65536


class EngineAbsent(Unavailable):
    """No process listens at the engine's address.

    Args:
        message: what is the matter and what to do.
        reason: for the RuntimeReady condition.
    """

    def __init__(
        self, message: str, *, reason: Reason, operation: str = "", subject: str = ""
    ) -> None:
        super().__init__(message, operation=operation, subject=subject)
        self.reason = reason


class EngineSession:
    """Requests to one engine.

    Args:
        endpoint: ``unix://…`` or ``tcp://…``.
        health: the gate; requests fail at once while it is closed, unless they ask to pass it.
        timeout_s: deadline for a request that names none, in seconds.
        observer: see :data:`EngineObserver`.
        diagnose: says why no process listens at the endpoint: a reason and what to do.
    """

    def __init__(
        self,
        endpoint: str,
        health: EngineHealth,
        timeout_s: float = 120.0,
        observer: EngineObserver = lambda operation, seconds, error: None,
        diagnose: Callable[[str], tuple[Reason, str]] = diagnose,
    ) -> None:
        self.endpoint = endpoint
        self.health = health
        self.timeout_s = timeout_s
        self.observer = observer
        self._diagnose = diagnose
        self.api_version: tuple[int, int] = MINIMUM_API_VERSION
        self._lanes: dict[Lane, aiodocker.Docker] = {}
        self._sessions: list[aiohttp.ClientSession] = []
        self._long = 0

    async def open(self) -> None:
        """Make the connection pools; nothing is dialled yet."""
        for lane in Lane:
            self._lanes[lane] = self._pool(lane)

    def _pool(self, lane: Lane) -> aiodocker.Docker:
        path = socket_path(self.endpoint)
        connector: aiohttp.BaseConnector
        if path is None:
            connector = aiohttp.TCPConnector(limit=lane.value, keepalive_timeout=_KEPT_S)
        else:
            connector = aiohttp.UnixConnector(path, limit=lane.value, keepalive_timeout=_KEPT_S)
        # The connector is ours, so aiodocker's close() leaves it to us: its own can raise half-way
        # and leak the session.
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
            # A compressed answer can be much larger than its bytes: none is asked for.
            headers={"Accept-Encoding": "identity"},
            read_bufsize=_CHUNK_BYTES,
            raise_for_status=_check_status,
        )
        self._sessions.append(session)
        docker = aiodocker.Docker(
            self.endpoint if path is None else "unix://localhost",
            session=session,
            connector=connector,
            api_version=self._version_text,
        )
        if path is not None:
            docker.docker_host = "http://engine"
        return docker

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._lanes.clear()
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            await session.close()

    @property
    def _version_text(self) -> str:
        return f"v{self.api_version[0]}.{self.api_version[1]}"

    def negotiate(self, version: Document) -> None:
        """Choose the API version from the engine's ``/version`` answer.

        Raises:
            FailedPrecondition, Internal: see :func:`choose_api_version`.
        """
        self.api_version = choose_api_version(version)
        for docker in self._lanes.values():
            docker.api_version = self._version_text

    async def json(
        self, method: str, path: str, operation: str, subject: str = "", **options: Any
    ) -> Any:
        """One request whose answer is JSON.

        Args:
            method: HTTP method.
            path: below the versioned root, such as ``containers/json``.
            operation: what it is called in errors and metrics (``inspect_container``).
            subject: the id or reference it is about.
            options: as :meth:`response` takes them.

        Returns:
            The decoded answer; None when it is empty.

        Raises:
            ResourceExhausted: it is too long; what others wrote into an object has no bound.
        """
        limit = _LIST_BYTES if operation in _LISTS else _ANSWER_BYTES
        async with self.response(method, path, operation, subject, **options) as response:
            content = await _content(response, limit, operation, subject)
        return decode(content, operation, subject) if content else None

    async def document(
        self, method: str, path: str, operation: str, subject: str = "", **options: Any
    ) -> Document:
        """Like :meth:`json`, for an answer that is one object.

        Raises:
            Internal: it is something else.
        """
        answer = await self.json(method, path, operation, subject, **options)
        if not isinstance(answer, dict):
            raise _senseless(operation, subject, "a JSON object")
        return answer

    async def documents(self, path: str, operation: str, **options: Any) -> list[Document]:
        """Like :meth:`json`, for a GET whose answer is a list of objects.

        Raises:
            Internal: it is something else.
        """
        answer = await self.json("GET", path, operation, **options)
        if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
            raise _senseless(operation, "", "a list of JSON objects")
        return answer

    @asynccontextmanager
    async def response(  # noqa: PLR0913 - options of one request, given by name; long: its errors too
        self,
        method: str,
        path: str,
        operation: str,
        subject: str = "",
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        stream: bool = False,
        versioned: bool = True,
        while_down: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request; its response is released whatever happens in the body.

        Args:
            params: query parameters.
            body: an object to send as JSON.
            data: bytes, or an async iterable of them, to send as they are.
            timeout_s: deadline in seconds for the whole exchange; the session's where None. With
                ``stream`` it covers only the time until the response's headers.
            stream: the body is read for as long as the caller likes.
            versioned: whether the path stands below ``/vX.Y``.
            while_down: ask although the engine counts as down, as the probe and readings do.

        Raises:
            ServiceError: by the HTTP status; Unavailable without an answer, DeadlineExceeded
                after ``timeout_s``.
        """
        if not while_down:
            self.health.require(operation.replace("_", " "), subject)
        lane, where = lane_of(operation, while_down), {"operation": operation, "subject": subject}
        docker = self._lanes.get(lane)
        if docker is None:
            raise Unavailable("the connection to Docker Engine is closed", **where)
        if lane is Lane.LONG and self._long >= lane.value:
            raise ResourceExhausted(
                f"cannot {_words(operation, subject)}: {self._long} calls that may take long are"
                " under way with Docker Engine; try again when some of them have ended",
                **where,
            )
        if params:
            path = f"{path}?{urlencode(params)}"
        if body is not None:
            # As a file: aiohttp warns of longer bytes than 1 MiB, which a pod's labels may have.
            data = io.BytesIO(orjson.dumps(body))
        deadline = self.timeout_s if timeout_s is None else timeout_s
        started = time.monotonic()
        self._long += lane is Lane.LONG
        failure: ServiceError | None = None
        response: aiohttp.ClientResponse | None = None
        try:
            with anyio.move_on_after(deadline) as scope:
                response = await docker._do_query(
                    path, method, data=data, headers=headers, timeout=None, versioned_api=versioned
                )
                if stream:
                    scope.deadline = float("inf")
                yield response
            if scope.cancelled_caught:
                failure = DeadlineExceeded(
                    f"Docker Engine did not answer {_words(operation, subject)} within"
                    f" {deadline:g} s",
                    **where,
                )
                raise failure
        except aiodocker.DockerError as error:
            failure = self._convert(error, operation, subject)
            raise failure from error
        except (aiohttp.ClientError, ConnectionError) as error:
            failure = Unavailable(
                f"Docker Engine broke off during {_words(operation, subject)}: {error}", **where
            )
            raise failure from error
        except ServiceError as error:
            failure = error
            raise
        finally:
            self._long -= lane is Lane.LONG
            if response is not None:
                response.release() if not stream else response.close()
            self.observer(operation, time.monotonic() - started, failure)

    def absent(self, operation: str, subject: str) -> ServiceError:
        """The endpoint could not be reached: why not, and what to do."""
        reason, hint = self._diagnose(self.endpoint)
        if reason == Reason.ENGINE_PERMISSION_DENIED:
            return PermissionDenied(hint, operation=operation, subject=subject)
        return EngineAbsent(hint, reason=reason, operation=operation, subject=subject)

    def _convert(self, error: aiodocker.DockerError, operation: str, subject: str) -> ServiceError:
        """By the HTTP status of the engine API; never by the text."""
        if error.status == _NO_DAEMON:
            return self.absent(operation, subject)
        kinds: dict[int, type[ServiceError]] = {
            400: InvalidArgument,
            401: Unauthenticated,
            403: PermissionDenied,
            404: NotFound,
            409: AlreadyExists if operation == "create_container" else FailedPrecondition,
            501: FailedPrecondition,
            503: Unavailable,
        }
        told = str(error.message)[:MOST_WORDS].strip()
        message = f"{_words(operation, subject)}: {told}"
        return kinds.get(error.status, Internal)(message, operation=operation, subject=subject)


async def _content(
    response: aiohttp.ClientResponse, limit: int, operation: str, subject: str
) -> bytes:
    """The body of an answer; the connection of one that is too long is closed."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            response.close()
            raise ResourceExhausted(
                f"Docker Engine answered {_words(operation, subject)} with more than {limit} bytes",
                operation=operation,
                subject=subject,
            )
    return bytes(content)


async def _check_status(response: aiohttp.ClientResponse) -> None:
    """Raise the engine's error from a bounded part of the answer: aiodocker would read all of it,
    and trust its content type.
    """
    if response.status < 400:
        return
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _ERROR_BYTES:
            break
    response.close()
    raise aiodocker.DockerError(response.status, error_words(bytes(content)))


def error_words(content: bytes) -> str:
    """The message in an error answer of the engine; the whole answer where it has none."""
    try:
        return str(orjson.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")


def decode(content: bytes, operation: str, subject: str = "") -> Any:
    """JSON that the engine sent.

    Raises:
        Internal: it is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Internal(
            f"Docker Engine answered {_words(operation, subject)} with something that is not JSON:"
            f" {error}",
            operation=operation,
            subject=subject,
        ) from error


def _senseless(operation: str, subject: str, wanted: str) -> Internal:
    return Internal(
        f"Docker Engine answered {_words(operation, subject)} with something that is not {wanted}",
        operation=operation,
        subject=subject,
    )


def _words(operation: str, subject: str) -> str:
    return f"{operation.replace('_', ' ')} {subject}".strip()
