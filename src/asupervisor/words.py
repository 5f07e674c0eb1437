"""Text from outside, made fit for a place that takes one line.

Images, containers, tenants, registries, plugins and the engine put words into messages. With a line
break in them they could forge a line of the log or a field of systemd's protocol, so they pass
through here first."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    # C0, DEL and C1; line and paragraph separators; what changes the direction of the text around
    # it; what shows as nothing (Unicode's Default_Ignorable_Code_Point, and annotations); lone
    # halves of UTF-16, which no encoder takes.
    "[\x00-\x1f\x7f-\x9f\u2028-\u202e\ufff9-\ufffb\ud800-\udfff"
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CUT = "…"


def one_line(text: str) -> str:
    """``text`` with everything escaped that ends a line, steers a terminal or hides what is there.

    Letters of every alphabet stay as they are. The answer encodes as UTF-8.
    """
    return _UNSAFE.sub(_escape, text)


def json_safe(document: str) -> str:
    """The same for a JSON document, with JSON's escapes: who parses it gets the text unchanged."""
    return _UNSAFE.sub(_escape_json, document)


def bounded_line(text: str, limit_bytes: int) -> str:
    """:func:`one_line`, cut to a length, with ``…`` at the end where it was cut.

    Args:
        text: of any length; the time taken does not grow with what is cut off.
        limit_bytes: most bytes of the answer as gRPC sends it (percent-encoded, three bytes for
            each byte that is not printable ASCII); as UTF-8 it is that or less. At least 9.
    """
    line = one_line(text[: limit_bytes + 1])
    if 12 * len(line) <= limit_bytes:
        return line
    size = 0
    fits = 0  # characters that leave room for the mark of the cut
    room = limit_bytes - _cost(_CUT)
    for index, character in enumerate(line):
        size += _cost(character)
        if size <= room:
            fits = index + 1
        if size > limit_bytes:
            return line[:fits] + _CUT
    return line


def _cost(character: str) -> int:
    return 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _escape_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
