"""One channel to a CRI server, and the version of the API that is used over it.

v1 is tried first. With a server that answers UNIMPLEMENTED to it, v1alpha2 is used, whose messages
are the same on the wire. This is decided when the connection is opened, and again whenever the
server may be another one: after the channel lost its connection, and when a method is
unimplemented."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import grpc
from google.protobuf.message import Message

from asupervisor.errors import FailedPrecondition, ServiceError, Unavailable
from asupervisor.proto import cri
from asupervisor.remote.endpoint import parse_endpoint
from asupervisor.remote.failure import FailureLog, failure

API_VERSIONS = ("v1", "v1alpha2")
MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest message in either direction, as in kubelet."""

_CLOSE_S = 5.0
_OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    # Otherwise the host would be the socket's path, escaped, which servers in Go refuse.
    ("grpc.default_authority", "localhost"),
    # A node's proxy settings are meant for registries, not for its own runtime.
    ("grpc.enable_http_proxy", 0),
    # Find a restarted runtime within seconds; gRPC by default waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3000),
)
_PROBES = (
    ("RuntimeService/Version", cri.VersionRequest(version="0.1.0").SerializeToString()),
    # For a server that has only an image service.
    ("ImageService/ImageFsInfo", b""),
)
_UNIMPLEMENTED, _UNAVAILABLE = grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE


Response = TypeVar("Response", bound=Message)


class Connection:
    """A channel with its API version. Its maker opens and closes it; several clients may use it.

    Args:
        endpoint: as in :func:`asupervisor.remote.endpoint.parse_endpoint`.

    Raises:
        ConfigError: the endpoint is malformed.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = parse_endpoint(endpoint)
        self._channel: Any = None
        self._version: str | None = None
        self._deciding = asyncio.Lock()
        self._log = FailureLog()
        self._lacking: set[str] = set()

    @property
    def api_version(self) -> str | None:
        """``v1`` or ``v1alpha2``; None while no connection has decided it."""
        return self._version

    async def open(self, timeout_s: float) -> None:
        """Connect and decide the API version.

        Args:
            timeout_s: for the server's answer, seconds.

        Raises:
            Unavailable: no server answers; the message says what to do.
            DeadlineExceeded: one accepts the connection and does not answer.
        """
        self._channel = grpc.aio.insecure_channel(self.endpoint.target, options=_OPTIONS)
        try:
            await self._decided(timeout_s)
        except grpc.aio.AioRpcError as status:
            error = self._failed(status, _PROBES[0][0], timeout_s)
            await self.close()
            raise error from status
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the channel; calls still in flight fail with Unavailable."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await channel.close()

    def lacks(self, method: str) -> bool:
        """Whether this server has answered UNIMPLEMENTED to ``Service/Method``."""
        return method in self._lacking

    async def call(
        self,
        method: str,
        request: Message,
        response_type: type[Response],
        *,
        deadline_s: float | None,
        timeout_s: float,
    ) -> Response:
        """One unary call.

        Args:
            method: ``Service/Method``.
            request: the request message.
            response_type: the response's message class.
            deadline_s: seconds for the call itself; None for no deadline.
            timeout_s: seconds to decide the API version, if that has to be done first.

        Raises:
            ServiceError: the subclass that the status code stands for.
        """
        answers = self.stream(
            method,
            request,
            response_type,
            deadline_s=deadline_s,
            timeout_s=timeout_s,
            is_unary=True,
        )
        async with aclosing(answers):
            return await anext(answers)

    async def stream(
        self,
        method: str,
        request: Message,
        response_type: type[Response],
        *,
        deadline_s: float | None,
        timeout_s: float,
        is_unary: bool = False,
    ) -> AsyncGenerator[Response, None]:
        """One call whose answer is a stream; the parameters are those of :meth:`call`. The call is
        cancelled when the iteration is left.
        """
        version: str | None = None
        for last in (False, True):
            call: Any = None
            answered = False
            try:
                version = await self._decided(timeout_s)
                channel = self._open_channel(method)
                call = (channel.unary_unary if is_unary else channel.unary_stream)(
                    method if method.startswith("/") else f"/runtime.{version}.{method}",
                    request_serializer=type(request).SerializeToString,
                    response_deserializer=response_type.FromString,
                )(request, timeout=deadline_s)
                if is_unary:
                    yield await call
                    return
                async for response in call:
                    answered = True
                    yield response
                return
            except grpc.aio.AioRpcError as status:
                if (
                    last
                    or answered
                    or not await self._speaks_otherwise(status, method, version, timeout_s)
                ):
                    raise self._failed(status, method, deadline_s) from status
            except asyncio.CancelledError as cancelled:
                if self._closed_under_the_call():
                    raise self._was_closed(method) from cancelled
                # gRPC raises a new CancelledError, which an anyio scope in this task would not
                # accept as its own.
                await anyio.lowlevel.checkpoint_if_cancelled()
                raise
            finally:
                if call is not None:
                    call.cancel()

    def _open_channel(self, method: str) -> Any:
        if self._channel is None:
            raise FailedPrecondition(
                f"{method}: the connection to {self.endpoint.url} is closed",
                operation=method,
                subject=self.endpoint.url,
            )
        return self._channel

    def _connected(self) -> bool:
        return (
            self._channel is not None
            and self._channel.get_state() is grpc.ChannelConnectivity.READY
        )

    async def _decided(self, timeout_s: float) -> str:
        """The API version, decided anew if the channel has reconnected."""
        if self._version is not None and self._connected():
            return self._version
        async with self._deciding:
            if self._version is None or not self._connected():
                self._version = None
                self._version = await self._probe(timeout_s)
                self._lacking.clear()
            return self._version

    async def _probe(self, timeout_s: float) -> str:
        for method, request in _PROBES:
            for version in API_VERSIONS:
                try:
                    await self._open_channel(method).unary_unary(f"/runtime.{version}.{method}")(
                        request, timeout=timeout_s
                    )
                except grpc.aio.AioRpcError as status:
                    code = status.code()
                    if code is _UNIMPLEMENTED:
                        continue
                    if code is grpc.StatusCode.DEADLINE_EXCEEDED or (
                        code is _UNAVAILABLE and not self._connected()
                    ):
                        raise
                    # With any other error the service is there; perhaps its engine is away.
                return version
        return API_VERSIONS[0]

    async def _speaks_otherwise(
        self, status: grpc.aio.AioRpcError, method: str, version: str | None, timeout_s: float
    ) -> bool:
        """Whether the status came from a server that now speaks another version, so that the call
        is worth repeating.
        """
        if status.code() is _UNAVAILABLE:
            self._version = None
        if status.code() is not _UNIMPLEMENTED or self._channel is None or method in self._lacking:
            return False
        async with self._deciding:
            if self._version == version:
                try:
                    self._version = await self._probe(timeout_s)
                except grpc.aio.AioRpcError:
                    self._version = None
                    return False
            if self._version != version:
                self._lacking.clear()
                return True
        self._lacking.add(method)
        return False

    def _failed(
        self, status: grpc.aio.AioRpcError, method: str, deadline_s: float | None
    ) -> ServiceError:
        error = failure(
            status,
            method=method,
            endpoint=self.endpoint,
            connected=self._connected(),
            deadline_s=deadline_s,
        )
        self._log.record(error)
        return error

    def _closed_under_the_call(self) -> bool:
        """Whether gRPC cancelled the call because the channel was closed. The caller was not
        cancelled, so to it that is an error.
        """
        task = asyncio.current_task()
        return self._channel is None and task is not None and not task.cancelling()

    def _was_closed(self, method: str) -> Unavailable:
        message = f"{method}: the connection to {self.endpoint.url} was closed during the call"
        return Unavailable(message, operation=method, subject=self.endpoint.url)
