"""The client's way to a session: connect to a URL and upgrade."""

from __future__ import annotations

import base64
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import anyio.abc
import h11
from anyio.streams.tls import TLSStream
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

UPGRADE_TIMEOUT_S = 30.0
"""Seconds to connect and to be answered: the server may still be starting what is asked for."""
_TEXT_BYTES = 4096
"""Most of a refusal that is shown."""

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
        NotFound: the URL is used up or expired.
        FailedPrecondition: the server knows none of ``protocols``.
        InvalidArgument: the URL is malformed, or the server does not understand the request.
        Unavailable: there is no connection, or the server takes no sessions now.
        DeadlineExceeded: no answer in time.
    """
    # cri-dockerd's URLs have no scheme; what it serves is plain.
    parts = urlsplit(f"http:{url}" if url.startswith("//") else url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(f'"{url}" is not an http:// or https:// URL')
    stream: anyio.abc.ByteStream | None = None
    try:
        with anyio.fail_after(UPGRADE_TIMEOUT_S):
            stream = await anyio.connect_tcp(
                parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
            )
            if parts.scheme == "https":
                stream = await TLSStream.wrap(
                    stream,
                    hostname=parts.hostname,
                    ssl_context=ssl_context,
                    standard_compatible=False,
                )
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
