"""The client's side of an HTTP/1.1 upgrade, on a connection that is there."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import anyio.abc
import h11

_READ_BYTES = 16 * 1024
_BODY_BYTES = 64 * 1024
"""Most of a refusal that is read."""


@dataclass(frozen=True, slots=True)
class UpgradeAnswer:
    """What the server answered.

    Args:
        status: 101 when the connection was upgraded.
        headers: by name in lower case.
        data: after an upgrade, the bytes that came behind the head; otherwise the body.
    """

    status: int
    headers: dict[str, str]
    data: bytes


async def request_upgrade(
    stream: anyio.abc.ByteStream, request: h11.Request, content: bytes = b""
) -> UpgradeAnswer:
    """Send a request for an upgrade and read the answer; the caller closes the connection.

    Args:
        stream: the connection.
        request: with the headers of the upgrade, and ``Content-Length`` where there is content.
        content: the request's body.

    Raises:
        h11.RemoteProtocolError: the answer is not HTTP.
        anyio.EndOfStream: the server closed the connection without an answer.
        anyio.BrokenResourceError: the connection broke.
    """
    http = h11.Connection(h11.CLIENT)
    sent = [http.send(request), http.send(h11.Data(data=content)), http.send(h11.EndOfMessage())]
    await stream.send(b"".join(part or b"" for part in sent))
    answer: h11.InformationalResponse | h11.Response | None = None
    body = b""
    while len(body) <= _BODY_BYTES:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                http.receive_data(await stream.receive(_READ_BYTES))
            except anyio.EndOfStream:
                if answer is None:
                    raise
                break
        elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            answer, body = event, http.trailing_data[0]
            break
        elif isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    assert answer is not None
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in answer.headers}
    return UpgradeAnswer(answer.status_code, headers, body)
