"""Connects a client to a streaming URL, and upgrades the connection."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import anyio
import anyio.abc
import h11
from anyio.abc import SocketAttribute
from wsproto.utilities import generate_accept_token

from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ServiceError,
    Unavailable,
)
from asupervisor.http_upgrade import request_upgrade
from asupervisor.streaming.negotiation import PROTOCOL_HEADER
from asupervisor.tls_stream import secure

UPGRADE_TIMEOUT_S = 30.0
"""Seconds to connect and to get an answer: the server may still be starting the command."""
_TEXT_BYTES = 4096
"""Most of the text of a refusal that is shown."""

_ERRORS: dict[int, type[ServiceError]] = {
    400: InvalidArgument,
    403: FailedPrecondition,
    404: NotFound,
    503: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A connection after its upgrade.

    Args:
        stream: the connection.
        protocol: what the server chose; empty if it named none.
        received: bytes that came behind the server's answer.
    """

    stream: anyio.abc.ByteStream
    protocol: str
    received: bytes


class _ReadToTheEnd(anyio.abc.ByteStream):
    """A connection from which everything can be read that the peer sent before it closed.

    Servers close right after a command's status. A later write, such as input that nobody reads any
    more, then fails, and the event loop closes the socket with all bytes that were not read yet. A
    second descriptor keeps these.

    Args:
        stream: the connection.
    """

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._rest = socket.socket(fileno=os.dup(stream.extra(SocketAttribute.raw_socket).fileno()))

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """The next bytes."""
        try:
            return await self._stream.receive(max_bytes)
        except anyio.BrokenResourceError:
            with contextlib.suppress(OSError):  # also if nothing waits: the read does not block
                if rest := self._rest.recv(max_bytes, socket.MSG_DONTWAIT):
                    return rest
            raise

    async def send(self, item: bytes) -> None:
        """Send bytes."""
        await self._stream.send(item)

    async def send_eof(self) -> None:
        """Send no more."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close it."""
        self._rest.close()
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the connection."""
        return self._stream.extra_attributes


async def upgrade(
    url: str,
    protocols: Sequence[str],
    *,
    websocket: bool,
    ssl_context: ssl.SSLContext | None = None,
) -> Upgraded:
    """Connect to a streaming URL and upgrade; the caller closes the connection.

    Args:
        url: ``http://`` or ``https://``, as the CRI gave it; ``//`` alone counts as ``http://``.
        protocols: what to offer, the best first.
        websocket: WebSocket instead of SPDY/3.1.
        ssl_context: for ``https``; without one the system's certificates are trusted.

    Raises:
        NotFound: the URL was used already, or has expired.
        FailedPrecondition: the server knows none of ``protocols``.
        InvalidArgument: the URL is malformed, or the server does not understand the request.
        Unavailable: no connection can be made, or the server takes no sessions now.
        DeadlineExceeded: no answer in time.
    """
    parts, port = _taken_apart(url)
    stream: anyio.abc.ByteStream | None = None
    try:
        with anyio.fail_after(UPGRADE_TIMEOUT_S):
            stream = _ReadToTheEnd(await anyio.connect_tcp(parts.hostname or "", port))
            if parts.scheme == "https":
                stream = await secure(stream, ssl_context, parts.hostname)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return await _upgrade(stream, parts.netloc, target, protocols, websocket)
    except BaseException as error:
        if stream is not None:
            await anyio.aclose_forcefully(stream)
        if isinstance(error, TimeoutError):
            raise DeadlineExceeded(
                f"{parts.netloc} did not answer in {UPGRADE_TIMEOUT_S:g} s"
            ) from error
        if isinstance(error, OSError | anyio.BrokenResourceError):
            raise Unavailable(f"no connection to {parts.netloc}: {error}") from error
        raise


def _taken_apart(url: str) -> tuple[SplitResult, int]:
    """A URL's parts and its port."""
    malformed = InvalidArgument(f'"{url}" is not an http:// or https:// URL')
    # What is beyond this a resolver of names or a writer of heads would raise at.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise malformed
    try:
        # cri-dockerd's URLs have no scheme; it serves them without TLS.
        parts = urlsplit(f"http:{url}" if url.startswith("//") else url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise malformed from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise malformed
    return parts, port


async def _upgrade(
    stream: anyio.abc.ByteStream, host: str, target: str, protocols: Sequence[str], websocket: bool
) -> Upgraded:
    key = base64.b64encode(secrets.token_bytes(16))
    headers = [("Host", host), ("Connection", "Upgrade")]
    if websocket:
        headers += [
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key.decode()),
        ]
        headers += [("Sec-WebSocket-Protocol", ", ".join(protocols))] if protocols else []
    else:
        headers += [("Upgrade", "SPDY/3.1"), *((PROTOCOL_HEADER, name) for name in protocols)]
    request = h11.Request(method="GET" if websocket else "POST", target=target, headers=headers)
    try:
        answer = await request_upgrade(stream, request)
    except h11.RemoteProtocolError as error:
        raise Internal(f"{host} does not answer in HTTP") from error
    except anyio.EndOfStream as error:
        raise Unavailable(f"{host} closed the connection") from error
    if answer.status != 101:
        text = answer.data[:_TEXT_BYTES].decode(errors="replace").strip()
        if answer.status == 403:
            way, other = ("WebSocket", "SPDY") if websocket else ("SPDY", "WebSocket")
            text = f"{text or 'forbidden'}; it takes none of {', '.join(protocols)} over {way}"
            text += f", try {other}"
        raise _ERRORS.get(answer.status, Internal)(f"{host} answers {answer.status}: {text}")
    if (
        websocket
        and answer.headers.get("sec-websocket-accept") != generate_accept_token(key).decode()
    ):
        raise Internal(f"{host} did not accept the WebSocket key")
    chosen = answer.headers.get(
        "sec-websocket-protocol" if websocket else PROTOCOL_HEADER.lower(), ""
    )
    if chosen and chosen not in protocols:
        raise Internal(f'{host} chose "{chosen}", which was not offered')
    return Upgraded(stream, chosen, answer.data)
