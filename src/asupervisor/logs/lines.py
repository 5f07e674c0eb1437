"""From the engine's json-file lines to CRI log lines: pure functions over bytes, which have to be
fast.

The engine writes ``{"log":"…\\n","stream":"stdout","time":"…"}`` (with ``"attrs":{…}`` before the
time where the operator asked for labels), one line for each line of output, and a line without the
trailing ``\\n`` for each 16 KiB of an unfinished one. CRI wants ``<RFC 3339 nano time>
<stdout|stderr> <P|F> <content>``, P where the line goes on.

The output depends on the input alone. Recovery needs that: what a killed process had written
already is found by encoding the same lines again and comparing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

MAX_CONTENT_BYTES = 16 * 1024
"""Longest content of one CRI log line; what is longer is split into P lines and a last one."""

_PIECE_BYTES = 28 * 1024
"""How much is split at a time. For more than 30 000 bytes CPython prepares each search in a way
that costs more than it saves when matches are close together: on short lines a fifth of the time.
"""

_LONG_WAY_PIECES = 128
_HALF_LINE_BYTES = MAX_CONTENT_BYTES // 2
_BETWEEN = b'"}\n{"log":"'
_HEAD = b'{"log":"'
_FOOT = b'"}\n'


class LineEncoder:
    """Encodes the json-file lines of one container; remembers only what makes the next chunk
    faster. What is not a json-file line (torn by a crash of the machine, say) is left out.
    """

    def __init__(self) -> None:
        self._short_ways: list[Callable[[bytes], bytes | None]] = [
            partial(_encode_stream, stream=b"stdout"),
            partial(_encode_stream, stream=b"stderr"),
            _encode_both,
            partial(_encode_escaped, stream="stdout"),
            partial(_encode_escaped, stream="stderr"),
        ]
        self._long_way_for = 0

    def encode(self, chunk: bytes) -> bytes:
        """Encode whole json-file lines.

        Args:
            chunk: one or more lines, each with its newline.

        Returns:
            The CRI log lines; fewer than came in only where some were malformed.
        """
        pieces: list[bytes] = []
        start = 0
        while start < len(chunk):
            end = (
                chunk.rfind(b"\n", start, start + _PIECE_BYTES) + 1
                or chunk.find(b"\n", start) + 1
                or len(chunk)
            )
            pieces.append(self._encode_piece(chunk[start:end]))
            start = end
        return b"".join(pieces)

    def _encode_piece(self, chunk: bytes) -> bytes:
        if self._long_way_for:
            self._long_way_for -= 1
        else:
            for way in self._short_ways:
                encoded = way(chunk)
                if encoded is not None:
                    if way is not self._short_ways[0]:
                        self._short_ways.remove(way)
                        self._short_ways.insert(0, way)
                    return encoded
            # After lines with attributes or parts of longer lines, more of them follow: do not try
            # the short ways on every piece.
            self._long_way_for = _LONG_WAY_PIECES
        encoded = _encode_parsed(chunk)
        return encoded if encoded is not None else self._encode_one_by_one(chunk)

    def _encode_one_by_one(self, chunk: bytes) -> bytes:
        out = bytearray()
        for line in chunk.splitlines(keepends=True):
            # A file that was truncated under its writer, or a machine that crashed, leaves zeros
            # before the next line.
            line = line.lstrip(b"\x00")
            encoded = _encode_line(line)
            if encoded is None:
                start = line.rfind(_HEAD)
                encoded = _encode_line(line[start:]) if start > 0 else None
            out += encoded or b""
        return bytes(out)


def _may_be_long(chunk: bytes) -> bool:
    """Whether a line may be longer than the limit: such a line covers a block of half its length
    that has no newline.
    """
    return any(
        chunk.find(b"\n", at, at + _HALF_LINE_BYTES) < 0
        for at in range(0, len(chunk), _HALF_LINE_BYTES)
    )


def _encode_stream(chunk: bytes, stream: bytes) -> bytes | None:
    """Whole lines of one stream, without escapes and attributes: only splits, slices and joins, no
    work for each line in Python.

    No content holds a bare quote, so the splits fall only where the engine put its own punctuation;
    if their number does not fit, the lines are of another kind."""
    parts = chunk[len(_HEAD) : -len(_FOOT)].split(b'\\n","stream":"%s","time":"' % stream)
    count = len(parts) - 1
    parts = _BETWEEN.join(parts).split(_BETWEEN)
    if (
        not count
        or len(parts) != 2 * count
        or not (chunk.startswith(_HEAD) and chunk.endswith(_FOOT))
    ):
        return None
    pieces = [b"", b" %s F " % stream, b"", b"\n"] * count
    pieces[0::4] = parts[1::2]
    return _fill(pieces, slice(2, None, 4), parts[0::2], chunk)


def _encode_both(chunk: bytes) -> bytes | None:
    """The same for lines of both streams."""
    parts = chunk[len(_HEAD) : -len(_FOOT)].split(b'\\n","stream":"std')
    count = len(parts) - 1
    parts = _BETWEEN.join(_BETWEEN.join(parts).split(b'","time":"')).split(_BETWEEN)
    if (
        not count
        or len(parts) != 3 * count
        or not (chunk.startswith(_HEAD) and chunk.endswith(_FOOT))
    ):
        return None
    pieces = [b"", b" std", b"", b" F ", b"", b"\n"] * count
    pieces[0::6] = parts[2::3]
    pieces[2::6] = parts[1::3]
    return _fill(pieces, slice(4, None, 6), parts[0::3], chunk)


def _fill(pieces: list[bytes], places: slice, contents: list[bytes], chunk: bytes) -> bytes | None:
    """Put the contents in their places and join; None if a content has escapes or is too long.

    Such a chunk is then encoded as a whole by a slower way, so that the encoding of a line never
    depends on its neighbours."""
    if _may_be_long(chunk) and max(map(len, contents)) > MAX_CONTENT_BYTES:
        return None
    pieces[places] = contents
    encoded = b"".join(pieces)
    return None if b"\\" in encoded or b'"' in encoded or b"\x00" in encoded else encoded


def _encode_escaped(chunk: bytes, stream: str) -> bytes | None:
    """Like :func:`_encode_stream` for contents with escapes: all of them are undone by one parse of
    a list of strings.
    """
    # A content that ends with a backslash and an n looks like one that ends with a newline.
    if b'\\\\n"' in chunk or _may_be_long(chunk):
        return None
    try:
        text = chunk.decode()
        parts = text[len(_HEAD) : -len(_FOOT)].split(f'\\n","stream":"{stream}","time":"')
        count = len(parts) - 1
        between = _BETWEEN.decode()
        parts = between.join(parts).split(between)
        if (
            not count
            or len(parts) != 2 * count
            or not (chunk.startswith(_HEAD) and chunk.endswith(_FOOT))
        ):
            return None
        times = parts[1::2]
        contents = orjson.loads('["' + '","'.join(parts[0::2]) + '"]')
        if len(contents) != count or "\n" in "".join(contents) or '"' in "".join(times):
            return None
        pieces = ["", f" {stream} F ", "", "\n"] * count
        pieces[0::4] = times
        pieces[2::4] = contents
        return "".join(pieces).encode()
    except (ValueError, TypeError):
        return None


def _encode_parsed(chunk: bytes) -> bytes | None:
    """Well-formed lines, through one parse of the whole chunk; None where one is not."""
    try:
        rows = orjson.loads(b"[" + chunk[:-1].replace(b"}\n{", b"},{") + b"]")
        encoded = [
            f"{row['time']} {row['stream']} F {row['log']}"
            for row in rows
            if row["log"][-1] == "\n"
        ]
        text = "".join(encoded)
        if len(encoded) == len(rows) == text.count("\n"):
            # UTF-8 takes up to four bytes for each character, so a bound in characters is only
            # exact for ASCII.
            longest = max(map(len, encoded)) - len("  stdout F \n")
            if longest <= MAX_CONTENT_BYTES if text.isascii() else longest * 4 <= MAX_CONTENT_BYTES:
                return text.encode()
        return b"".join([_encode_row(row) for row in rows])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _encode_line(line: bytes) -> bytes | None:
    try:
        return _encode_row(orjson.loads(line.decode("utf-8", "replace")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _encode_row(row: Any) -> bytes:
    """One decoded json-file line, split where its content is too long.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: it is not such a line.
    """
    content = row.get("log", "").encode()
    return encode_message(f"{row['time']} {row['stream']} ".encode(), content)


def encode_message(head: bytes, content: bytes) -> bytes:
    """One message of the engine as CRI log lines.

    Args:
        head: ``<time> <stream> ``, with both spaces.
        content: as the container wrote it; a trailing newline says that the line is whole.
    """
    whole = content.endswith(b"\n")
    if whole:
        content = content[:-1]
    # A newline inside would make a line without a head; no engine writes one.
    content = content.replace(b"\n", b"\\n") if b"\n" in content else content
    if len(content) <= MAX_CONTENT_BYTES:
        return head + (b"F " if whole else b"P ") + content + b"\n"
    pieces: list[bytes] = []
    for start in range(0, len(content), MAX_CONTENT_BYTES):
        last = start + MAX_CONTENT_BYTES >= len(content)
        pieces += (
            head,
            b"F " if whole and last else b"P ",
            content[start : start + MAX_CONTENT_BYTES],
            b"\n",
        )
    return b"".join(pieces)
