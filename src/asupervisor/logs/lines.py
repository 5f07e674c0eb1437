"""From the engine's json-file lines to CRI log lines: pure functions over bytes, fast enough for a flood.

The engine writes ``{"log":"…\\n","stream":"stdout","time":"…"}`` (with ``"attrs":{…}`` before the time where the
operator asked for labels), one line for each line of output, and a line without the trailing ``\\n`` for each 16 KiB of
an unfinished one. CRI wants ``<RFC 3339 nano time> <stdout|stderr> <P|F> <content>``, P where the line goes on.

The output is a function of the input alone. Recovery rests on that: what a killed process had written already is found
by writing it again in memory and comparing.
"""

from __future__ import annotations

from typing import Any

import orjson

MAX_CONTENT_BYTES = 16 * 1024
"""Longest content of one CRI log line; what is longer is split into P lines and a last one."""

_MAX_TIME_BYTES = 35
_BETWEEN = b'"}\n{"log":"'
_HEAD = b'{"log":"'
_FOOT = b'"}\n'
_STREAMS = ("stdout", "stderr")


class LineEncoder:
    """Encodes the json-file lines of one container; remembers only what makes the next chunk faster.

    Attributes:
        malformed: lines so far that were no json-file line (torn by a crash of the machine, say) and were left out.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._stream = 0
        self._mixed = 0

    def encode(self, chunk: bytes) -> bytes:
        """Encode whole json-file lines.

        Args:
            chunk: one or more lines, each with its newline.

        Returns:
            The CRI log lines; fewer than came in only where some were malformed.
        """
        if self._mixed:
            self._mixed -= 1
        elif not _escaped(chunk):
            for attempt in (self._stream, 1 - self._stream):
                encoded = _encode_uniform(chunk, _STREAMS[attempt])
                if encoded is not None:
                    self._stream = attempt
                    return encoded
            # What mixes streams or escapes goes on doing so: do not try the short way on every chunk.
            self._mixed = 15
        encoded = _encode_parsed(chunk)
        return encoded if encoded is not None else self._encode_one_by_one(chunk)

    def _encode_one_by_one(self, chunk: bytes) -> bytes:
        out = bytearray()
        for line in chunk.splitlines(keepends=True):
            # A file that was truncated under its writer, or a machine that crashed, leaves zeros before the next line.
            line = line.lstrip(b"\x00")
            encoded = _encode_line(line)
            if encoded is None:
                start = line.rfind(_HEAD)
                encoded = _encode_line(line[start:]) if start > 0 else None
            if encoded is None:
                self.malformed += 1
            else:
                out += encoded
        return bytes(out)


def _escaped(chunk: bytes) -> bool:
    """Whether the first line holds an escape beside its trailing newline: then the rest probably does too."""
    first = chunk.find(b"\\")
    return first < 0 or chunk[first : first + 3] != b'\\n"'


def _encode_uniform(chunk: bytes, stream: str) -> bytes | None:
    """Whole lines of one stream without any escape or attribute: only splits, slices and joins, no work per line in Python."""
    parts = chunk[len(_HEAD) : -len(_FOOT)].split(b'\\n","stream":"%s","time":"' % stream.encode())
    count = len(parts) - 1
    # No content holds a bare quote, so these splits can only fall where the engine put its own punctuation.
    parts = _BETWEEN.join(parts).split(_BETWEEN)
    if not count or len(parts) != 2 * count or not (chunk.startswith(_HEAD) and chunk.endswith(_FOOT)):
        return None
    contents, times = parts[0::2], parts[1::2]
    if max(map(len, times)) > _MAX_TIME_BYTES or max(map(len, contents)) > MAX_CONTENT_BYTES:
        return None
    pieces = [b"", b" %s F " % stream.encode(), b"", b"\n"] * count
    pieces[0::4] = times
    pieces[2::4] = contents
    encoded = b"".join(pieces)
    # Whatever is not plain goes the long way, whole, so that a line's encoding never depends on its neighbours.
    return None if b"\\" in encoded or b'"' in encoded or b"\x00" in encoded else encoded


def _encode_parsed(chunk: bytes) -> bytes | None:
    """Any well-formed lines, through one parse of the whole chunk; None where one of them is not well-formed."""
    try:
        rows = orjson.loads(b"[" + chunk[:-1].replace(b"}\n{", b"},{") + b"]")
        encoded = [f"{row['time']} {row['stream']} F {row['log']}" for row in rows if row["log"][-1] == "\n"]
        text = "".join(encoded)
        if len(encoded) == len(rows) == text.count("\n"):
            # UTF-8 takes up to four bytes for each character, so a bound in characters is only exact for ASCII.
            longest = max(map(len, encoded)) - len("  stdout F \n")
            if longest <= MAX_CONTENT_BYTES if text.isascii() else longest * 4 <= MAX_CONTENT_BYTES:
                return text.encode()
        return b"".join([_encode_row(row) for row in rows])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _encode_line(line: bytes) -> bytes | None:
    try:
        return _encode_row(orjson.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _encode_row(row: Any) -> bytes:
    """One decoded json-file line, split where its content is too long.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: it is none.
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
        pieces += (head, b"F " if whole and last else b"P ", content[start : start + MAX_CONTENT_BYTES], b"\n")
    return b"".join(pieces)
