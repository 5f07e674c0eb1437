"""TLS on a connection, whose end is told as on any other.

anyio's own raises ``ssl.SSLError`` for bytes that are not TLS, and, once its peer has gone without
a word, ``EndOfStream`` to who writes and ``TypeError`` to who half-closes."""

from __future__ import annotations

import ssl

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream


async def secure(
    stream: anyio.abc.ByteStream, context: ssl.SSLContext | None, hostname: str | None = None
) -> anyio.abc.ByteStream:
    """Do the handshake on a connection; one that fails is closed.

    Args:
        stream: the connection.
        context: with certificates; where None, the system's are trusted.
        hostname: of the server; None where this end is the server.

    Raises:
        ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream: the handshake fails.
    """
    try:
        return await _SecureStream.wrap(
            stream,
            server_side=hostname is None,
            hostname=hostname,
            ssl_context=context,
            standard_compatible=False,
        )
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


class _SecureStream(TLSStream):
    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            return await super().receive(max_bytes)
        except ssl.SSLError as error:
            raise anyio.BrokenResourceError(str(error)) from error

    async def send(self, item: bytes) -> None:
        try:
            await super().send(item)
        except (ssl.SSLError, anyio.EndOfStream) as error:
            raise anyio.BrokenResourceError(str(error)) from error

    async def send_eof(self) -> None:
        raise NotImplementedError("TLS has no half-close here")
