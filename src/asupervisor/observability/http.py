"""A small HTTP/1.1 server for GET requests, by h11. The number of connections is bounded, and each
has deadlines. If there is one too many, the one that was quiet for longest is closed.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream, TaskStatus

from asupervisor.admission import Admission, Guest, HeadLines, peer_address
from asupervisor.errors import FailedPrecondition
from asupervisor.listening import serve

_logger = logging.getLogger(__name__)
_HEAD_BYTES = 8192
_REQUEST_DEADLINE_S = 10.0
_IDLE_S = 120.0
_CONNECTIONS = 64
_CONNECTIONS_PER_PEER = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """One response.

    Args:
        headers: further ones.
        parts: sent after the body, as they come; at their end the connection is closed.
    """

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    parts: AsyncGenerator[bytes, None] | None = None


Handler = Callable[[str], Awaitable[Answer]]
"""Takes the path without its query, and gives the answer."""


class HttpServer:
    """Answers GET requests with what a handler gives.

    Args:
        host: to listen on.
        port: 0 lets the system choose.
        handler: answers; what it raises becomes a 500 and a log line.
    """

    def __init__(self, host: str, port: int, handler: Handler) -> None:
        self._host = host
        self._port = port
        self._handler = handler
        self._admission = Admission(_CONNECTIONS, _CONNECTIONS_PER_PEER)

    async def run(self, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen, report the URL, and serve until cancelled.

        Raises:
            FailedPrecondition: the address cannot be bound.
        """
        try:
            listener = await anyio.create_tcp_listener(
                local_host=self._host, local_port=self._port, reuse_port=False
            )
        except (OSError, socket.gaierror) as error:
            raise FailedPrecondition(
                f"--metrics-bind-addr: {self._host}:{self._port} cannot be bound: {error}"
            ) from error
        async with listener:
            port = listener.extra(SocketAttribute.local_port)
            task_status.started(
                f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{port}"
            )
            # If the node is out of descriptors, there are no metrics for a while; pods run on.
            await serve(listener, "metrics", self._serve)

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            try:
                with self._admission.enter(peer_address(stream)[0]) as guest:
                    await self._converse(stream, guest)
            except (
                OSError,
                anyio.EndOfStream,
                anyio.BrokenResourceError,
                anyio.ClosedResourceError,
                h11.ProtocolError,
                TimeoutError,
            ):
                return
            except Exception:  # an error here must not end the service
                _logger.exception("a connection for metrics failed by a defect of this service")

    async def _converse(self, stream: SocketStream, guest: Guest) -> None:
        reader = _RequestReader(stream)
        connection = reader.connection
        while True:
            with anyio.fail_after(_IDLE_S):
                request = await reader.next()
            if request is None:
                return
            guest.renew()
            with anyio.fail_after(_REQUEST_DEADLINE_S):
                answer = await self._answer(request)
                await stream.send(_encode(connection, request, answer))
            if answer.parts is not None:
                await _send_parts(stream, connection, guest, answer.parts)
                return
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, b"only GET is answered here\n")
        path = request.target.decode("ascii", "replace").partition("?")[0]
        try:
            return await self._handler(path)
        except Exception:  # the client gets an answer, and other pages still work
            _logger.exception("answering %s failed", path)
            return Answer(500, b"failed by a defect of this service; see its log\n")


async def _send_parts(
    stream: SocketStream,
    connection: h11.Connection,
    guest: Guest,
    parts: AsyncGenerator[bytes, None],
) -> None:
    async with aclosing(parts):
        async for part in parts:
            guest.renew()
            with anyio.fail_after(_REQUEST_DEADLINE_S):
                await stream.send(connection.send(h11.Data(data=part)) or b"")


class _RequestReader:
    """The requests of one connection."""

    def __init__(self, stream: SocketStream) -> None:
        self.connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._stream = stream
        self._lines = HeadLines()
        self._rest = b""

    async def next(self) -> h11.Request | None:
        """Read up to the end of one request; None at the end of the connection."""
        request: h11.Request | None = None
        self._lines.restart()
        while True:
            event = self.connection.next_event()
            if event is h11.NEED_DATA:
                await self._read()
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                return request
            elif isinstance(event, h11.Data):
                raise h11.RemoteProtocolError("a GET request has no body")
            else:
                return None

    async def _read(self) -> None:
        try:
            data = self._rest or await self._stream.receive(_HEAD_BYTES)
        except anyio.EndOfStream:
            self.connection.receive_data(b"")
            return
        portion = self._lines.portion(data)
        if not portion:
            raise h11.RemoteProtocolError("a request of too many lines")
        self._rest = data[len(portion) :]
        self.connection.receive_data(portion)


def _encode(connection: h11.Connection, request: h11.Request, answer: Answer) -> bytes:
    headers = [
        ("Content-Type", answer.content_type),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *answer.headers,
    ]
    if answer.parts is None:
        headers.append(("Content-Length", str(len(answer.body))))
    head = connection.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    body = b"" if request.method == b"HEAD" else connection.send(h11.Data(data=answer.body)) or b""
    if answer.parts is not None:
        return head + body
    return head + body + (connection.send(h11.EndOfMessage()) or b"")
