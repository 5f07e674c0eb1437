"""Terminal sizes on the resize stream: JSON objects such as ``{"Width":80,"Height":24}``."""

from __future__ import annotations

import json

MAX_OBJECT_BYTES = 4096
"""Longest object that is kept until it is complete; a longer one is dropped."""

NEWEST = 16
"""Most objects that are read in one piece of data."""
_MAX_SIDE = 0xFFFF  # the kernel's winsize has 16 bits


class SizeDecoder:
    """Cuts a byte stream into terminal sizes; anything else is skipped.

    A size is an object without objects in it: it ends at the first closing brace. So the work is
    linear, whatever the peer sends.
    """

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """The sizes, ``(width, height)`` in characters, that ``data`` completes; values below 1 are
        left out. If there are more than :data:`NEWEST` objects at once, only the last ones are
        read: the newest size counts.
        """
        text = self._text + data.decode("ascii", "replace")
        self._text = ""
        found: list[tuple[int, int]] = []
        end = len(text)
        looked = 0
        while looked < NEWEST and (start := text.rfind("{", 0, end)) >= 0:
            close = text.find("}", start, end) + 1
            if close:
                looked += 1
                size = _size(text[start:close])
                if size is not None:
                    found.append(size)
            elif end == len(text) and end - start <= MAX_OBJECT_BYTES:
                self._text = text[start:]
            end = start
        found.reverse()
        return found


def encode_size(width: int, height: int) -> bytes:
    """One size, in characters, for the stream."""
    return json.dumps({"Width": width, "Height": height}, separators=(",", ":")).encode() + b"\n"


def _size(text: str) -> tuple[int, int] | None:
    if len(text) > MAX_OBJECT_BYTES:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
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
