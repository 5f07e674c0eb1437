"""What the two clients have in common: a connection, a request timeout, and a deadline for each
call.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import ClassVar, Self, TypeVar

from google.protobuf.message import Message

from asupervisor.errors import ConfigError
from asupervisor.remote.connection import Connection, Response
from asupervisor.remote.deadlines import deadline_s
from asupervisor.remote.endpoint import parse_endpoint

Item = TypeVar("Item")


class RemoteService:
    """A client of one of the CRI's services; made by :meth:`connect`."""

    SERVICE: ClassVar[str]

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, endpoint: str, timeout_s: float = 120.0, *, sharing: RemoteService | None = None
    ) -> AsyncIterator[Self]:
        """Connect for the length of an ``async with`` block.

        Args:
            endpoint: ``unix:///path`` or ``tcp://host:port``.
            timeout_s: the request timeout in seconds, above 0; :mod:`asupervisor.remote.deadlines`
                says what it means for each method.
            sharing: another client, open for at least as long; its channel is used if it has the
                same endpoint.

        Raises:
            ConfigError: the endpoint or the timeout is malformed; the message names it.
            Unavailable: no server answers there; the message says what to do.
            DeadlineExceeded: one accepts the connection and does not answer within ``timeout_s``.
        """
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ConfigError(
                f"the runtime request timeout must be above 0 s, not {timeout_s!r}",
                subject=endpoint,
            )
        if sharing is not None and sharing._connection.endpoint == parse_endpoint(endpoint):
            yield cls(sharing._connection, timeout_s)
            return
        connection = Connection(endpoint)
        await connection.open(timeout_s)
        try:
            yield cls(connection, timeout_s)
        finally:
            await connection.close()

    def within(self, timeout_s: float) -> Self:
        """The same connection with another request timeout, in seconds above 0."""
        return type(self)(self._connection, timeout_s)

    @property
    def endpoint(self) -> str:
        """The server's endpoint in full."""
        return self._connection.endpoint.url

    @property
    def api_version(self) -> str | None:
        """``v1``, or ``v1alpha2`` if the server has no v1; None from the loss of the connection to
        the next call.
        """
        return self._connection.api_version

    async def _call(self, rpc: str, request: Message, response_type: type[Response]) -> Response:
        method = f"{self.SERVICE}/{rpc}"
        deadline = deadline_s(method, request, self._timeout_s)
        return await self._connection.call(
            method, request, response_type, deadline_s=deadline, timeout_s=self._timeout_s
        )

    async def _stream(
        self,
        rpc: str,
        request: Message,
        response_type: type[Response],
        items: Callable[[Response], Iterable[Item]],
    ) -> AsyncGenerator[Item, None]:
        """The items of every response, in order; closing the generator cancels the call at once."""
        method = f"{self.SERVICE}/{rpc}"
        deadline = deadline_s(method, request, self._timeout_s)
        responses = self._connection.stream(
            method, request, response_type, deadline_s=deadline, timeout_s=self._timeout_s
        )
        async with aclosing(responses):
            async for response in responses:
                for item in items(response):
                    yield item

    def _has(self, rpc: str) -> bool:
        """Whether the server may have an RPC: it has not answered UNIMPLEMENTED to it."""
        return not self._connection.lacks(f"{self.SERVICE}/{rpc}")


async def collected(items: AsyncGenerator[Item, None]) -> list[Item]:
    """All items of a list's stream.

    Raises:
        Unimplemented: the server has no such stream; use the unary call then.
    """
    async with aclosing(items):
        return [item async for item in items]
