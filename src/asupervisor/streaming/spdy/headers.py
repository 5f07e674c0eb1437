"""Header blocks: name/value pairs under one zlib context for each direction of a connection.

The format (SPDY/3.1, 2.6.10): a count, then names and values, each after its length in 4 bytes.
Names are in lower case, not empty, and each is there once; several values of a name are joined by a
zero byte. All blocks go through one zlib stream that lasts as long as the connection. So a block
that cannot be inflated ends the connection, and one that is only malformed ends its stream."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from struct import Struct

from asupervisor.streaming.spdy.dictionary import DICTIONARY
from asupervisor.streaming.spdy.limits import Limits, RemoteProtocolError

_WORD = Struct(">I")

Headers = Mapping[str, str]
"""Names in lower case. Kubernetes uses one value for a name, so the first of several counts."""


class MalformedHeaders(Exception):
    """The block can be inflated but is not a list of headers; later blocks can still be read."""


class HeaderEncoder:
    """The sending side of one direction."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(level=9, zdict=DICTIONARY)

    def encode(self, headers: Headers) -> bytes:
        """Compress one block; blocks must reach the wire in the order of encoding."""
        parts = [_WORD.pack(len(headers))]
        for name, value in headers.items():
            for text in (name.lower(), value):
                raw = text.encode()
                parts += (_WORD.pack(len(raw)), raw)
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecoder:
    """The receiving side of one direction.

    Args:
        limits: ``header_bytes`` and ``headers`` limit one block.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.inflated_bytes = 0
        """Inflated bytes of all blocks so far."""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def decode(self, block: bytes) -> dict[str, str]:
        """Decompress one block.

        Raises:
            MalformedHeaders: it is not a list of headers, or the list is too long.
            RemoteProtocolError: it cannot be inflated, or to more than the limit.
        """
        try:
            text = self._inflate.decompress(block, self._limits.header_bytes)
        except zlib.error as error:
            raise RemoteProtocolError(f"a header block that does not inflate ({error})") from error
        self.inflated_bytes += len(text)
        # A full buffer counts as too much too: zlib may keep output although all input is used.
        if self._inflate.unconsumed_tail or len(text) >= self._limits.header_bytes:
            raise RemoteProtocolError(
                f"a header block of more than {self._limits.header_bytes} bytes"
            )
        if self._inflate.eof:
            raise RemoteProtocolError("the header compression was ended")
        return self._pairs(text)

    def _pairs(self, text: bytes) -> dict[str, str]:
        if len(text) < 4:
            raise MalformedHeaders("no count")
        count = _WORD.unpack_from(text)[0]
        if count > self._limits.headers:
            raise MalformedHeaders(f"{count} headers; the limit is {self._limits.headers}")
        position = 4
        found: dict[str, str] = {}
        for _ in range(count):
            name, position = _text(text, position)
            value, position = _text(text, position)
            if not name or name != name.lower() or name in found:
                raise MalformedHeaders(
                    f"header name {name!r} is empty, not lower case or there twice"
                )
            found[name] = value.split("\0", 1)[0]
        if position != len(text):
            raise MalformedHeaders("bytes after the last header")
        return found


def _text(block: bytes, position: int) -> tuple[str, int]:
    if position + 4 > len(block):
        raise MalformedHeaders("it ends within a length")
    start = position + 4
    end = start + _WORD.unpack_from(block, position)[0]
    if end > len(block):
        raise MalformedHeaders("it ends within a text")
    return block[start:end].decode("utf-8", "replace"), end
