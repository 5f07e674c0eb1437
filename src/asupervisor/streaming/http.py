"""Reads one HTTP/1.1 request of a connection, by h11, and answers it or upgrades."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import anyio
import anyio.abc
import h11
from wsproto.utilities import generate_accept_token

from asupervisor.admission import HeadLines
from asupervisor.streaming.negotiation import Refused, split_list

HEAD_BYTES = 32 * 1024
"""Longest head of a request or an answer."""
BODY_BYTES = 64 * 1024
"""Longest body of a request; it is read and dropped."""
BODY_PIECES = 128
"""Most pieces of a body: with chunked coding a client could send single bytes."""
READ_BYTES = 16 * 1024

_REASONS = {
    101: b"Switching Protocols",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request's head."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Every value of a header; lists are split."""
        return split_list(value for key, value in self.headers if key == name.lower())

    def first(self, name: str) -> str:
        """The first value of a header, whole; empty if it is not there."""
        return next((value for key, value in self.headers if key == name.lower()), "")

    def upgrades_to(self, protocol: str) -> bool:
        """Whether the client asks to switch to ``protocol`` (RFC 9110, 7.8)."""
        connection = {entry.lower() for entry in self.all("connection")}
        return "upgrade" in connection and protocol.lower() in {
            entry.lower() for entry in self.all("upgrade")
        }


class HttpConnection:
    """The server's end of a connection before it is upgraded.

    Args:
        stream: the connection.
        received: bytes that were read from it already.
    """

    def __init__(self, stream: anyio.abc.ByteStream, received: bytes = b"") -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._lines = HeadLines()
        self._rest = received

    async def read_request(self) -> HttpRequest | None:
        """The request, after its body was read and dropped; None if the peer closes without one.

        Raises:
            Refused: it is not HTTP, or too long.
        """
        request: HttpRequest | None = None
        body = pieces = 0
        try:
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    request = HttpRequest(
                        event.method.decode("ascii"),
                        event.target.decode("ascii", "replace"),
                        tuple(
                            (name.decode("ascii"), value.decode("latin-1"))
                            for name, value in event.headers
                        ),
                    )
                elif isinstance(event, h11.Data):
                    body, pieces = body + len(event.data), pieces + 1
                    if body > BODY_BYTES or pieces > BODY_PIECES:
                        raise Refused(413, "the request has too long a body")
                elif isinstance(event, h11.EndOfMessage):
                    return request
                elif isinstance(event, h11.ConnectionClosed):
                    return None
                elif event is h11.NEED_DATA:
                    if self._h11.they_are_waiting_for_100_continue:
                        await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    await self._read(in_head=request is None)
                else:
                    return request
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, "that is not an HTTP/1.1 request") from error

    async def _read(self, *, in_head: bool) -> None:
        try:
            data = self._rest or await self._stream.receive(READ_BYTES)
        except anyio.EndOfStream:
            self._h11.receive_data(b"")
            return
        portion = self._lines.portion(data) if in_head else data[:READ_BYTES]
        if not portion:
            raise Refused(431, "the request has too many lines")
        self._rest = data[len(portion) :]
        self._h11.receive_data(portion)

    async def refuse(self, refusal: Refused) -> None:
        """Send the answer; if the peer does not take it, that is ignored."""
        body = f"{refusal.reason}\n".encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            ("X-Content-Type-Options", "nosniff"),
            *refusal.headers,
        ]
        response = h11.Response(
            status_code=refusal.status, headers=headers, reason=_REASONS.get(refusal.status, b"")
        )
        with contextlib.suppress(
            h11.LocalProtocolError, anyio.BrokenResourceError, anyio.ClosedResourceError
        ):
            data = self._h11.send(response) or b""
            data += self._h11.send(h11.Data(data=body)) or b""
            data += self._h11.send(h11.EndOfMessage()) or b""
            await self._stream.send(data)

    async def upgrade(self, protocol: str, headers: list[tuple[str, str]]) -> bytes:
        """Answer 101. Returns the bytes that the client has sent after its request.

        Args:
            protocol: for the Upgrade header.
            headers: further headers of the answer.
        """
        await self._send(
            h11.InformationalResponse(
                status_code=101,
                headers=[("Connection", "Upgrade"), ("Upgrade", protocol), *headers],
                reason=_REASONS[101],
            )
        )
        return self._h11.trailing_data[0] + self._rest

    async def _send(self, event: h11.Event) -> None:
        await self._stream.send(self._h11.send(event) or b"")


def websocket_answer(request: HttpRequest, subprotocol: str) -> list[tuple[str, str]]:
    """The headers of the answer to a WebSocket upgrade (RFC 6455, 4.2.2).

    Raises:
        Refused: the request lacks something that the RFC requires.
    """
    if request.method != "GET":
        raise Refused(405, "a WebSocket begins with GET", [("Allow", "GET")])
    if request.first("sec-websocket-version") != "13":
        raise Refused(
            400,
            "unable to upgrade: WebSocket version 13 is needed",
            [("Sec-WebSocket-Version", "13")],
        )
    key = request.first("sec-websocket-key")
    if not key:
        raise Refused(400, "unable to upgrade: Sec-WebSocket-Key is needed")
    answer = [
        ("Sec-WebSocket-Accept", generate_accept_token(key.encode("latin-1")).decode("ascii"))
    ]
    if subprotocol:
        answer.append(("Sec-WebSocket-Protocol", subprotocol))
    return answer
