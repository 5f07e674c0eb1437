"""Terminal sizes on the resize stream: JSON objects one after the other,
``{"Width":80,"Height":24}``.
"""

from __future__ import annotations

import json

MAX_OBJECT_BYTES = 4096
"""Longest object that is waited for; a longer one is dropped with what follows it up to its end."""

_MAX_SIDE = 0xFFFF  # the kernel's winsize has 16 bits


class SizeDecoder:
    """Cuts a byte stream into terminal sizes; what is none is skipped."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """The sizes, ``(width, height)`` in characters, that ``data`` completes; values below 1 are
        left out.
        """
        self._text += data.decode("ascii", "replace")
        found: list[tuple[int, int]] = []
        decoder = json.JSONDecoder()
        while start := self._text.find("{") + 1:
            try:
                document, end = decoder.raw_decode(self._text, start - 1)
            except (json.JSONDecodeError, RecursionError):
                end = self._text.find("}", start) + 1
                if end:
                    self._text = self._text[end:]  # whole and no JSON
                    continue
                self._text = self._text[start - 1 :] if len(self._text) <= MAX_OBJECT_BYTES else ""
                return found
            self._text = self._text[end:]
            size = _size(document)
            if size is not None:
                found.append(size)
        self._text = ""
        return found


def encode_size(width: int, height: int) -> bytes:
    """One size, in characters, for the stream."""
    return json.dumps({"Width": width, "Height": height}, separators=(",", ":")).encode() + b"\n"


def _size(document: object) -> tuple[int, int] | None:
    if not isinstance(document, dict):
        return None
    folded = {
        str(key).lower(): value for key, value in document.items()
    }  # Go matches names without regard to case
    width, height = folded.get("width"), folded.get("height")
    if (
        not isinstance(width, int)
        or not isinstance(height, int)
        or not 1 <= width <= _MAX_SIDE
        or not 1 <= height <= _MAX_SIDE
    ):
        return None
    return width, height
