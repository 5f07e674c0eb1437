"""Reading the engine's JSON documents without trusting them.

An inspect document carries what an image or a tenant wrote, and what the engine made of it. One
wrong value must not spoil the rest: what is missing, of another type or out of the range of the
CRI's field becomes the empty value of its type. Every record is made through these functions, so
any document gives a record, or one error if it does not even name its object.
"""

from __future__ import annotations

import re
from typing import Any

from asupervisor.errors import Internal

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
UINT64_MAX = 2**64 - 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.-]{0,255}")


def at(document: Any, *path: str) -> Any:
    """The value under a path of keys; None where one of them is missing or below no object."""
    for key in path:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def text(document: Any, *path: str) -> str:
    """A text; empty where there is none. What UTF-8 cannot encode is replaced, since neither the
    CRI nor the engine's API can carry it.
    """
    return text_of(at(document, *path))


def text_of(value: Any) -> str:
    """The same of the value itself."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode(errors="replace").decode()


def whole(document: Any, *path: str, low: int = -INT64_MAX - 1, high: int = INT64_MAX) -> int:
    """A whole number from ``low`` to ``high``; 0 where there is none."""
    return whole_of(at(document, *path), low, high)


def whole_of(value: Any, low: int = -INT64_MAX - 1, high: int = INT64_MAX) -> int:
    """The same of the value itself."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    return 0


def flag(document: Any, *path: str) -> bool:
    """Whether it is there and true."""
    return at(document, *path) is True


def mapping(document: Any, *path: str) -> dict[str, Any]:
    """An object; empty where there is none."""
    value = at(document, *path)
    return value if isinstance(value, dict) else {}


def sequence(document: Any, *path: str) -> list[Any]:
    """A list; empty where there is none."""
    value = at(document, *path)
    return value if isinstance(value, list) else []


def texts(document: Any, *path: str) -> list[str]:
    """The texts of a list, in its order; what is something else is left out."""
    return texts_of(at(document, *path))


def texts_of(value: Any) -> list[str]:
    """The same of the value itself."""
    entries = value if isinstance(value, list) else ()
    return [text_of(entry) for entry in entries if isinstance(entry, str)]


def text_map(document: Any, *path: str) -> dict[str, str]:
    """The texts of an object by their keys; what is something else is left out."""
    return text_map_of(at(document, *path))


def text_map_of(value: Any) -> dict[str, str]:
    """The same of the value itself."""
    entries = value if isinstance(value, dict) else {}
    return {
        text_of(key): text_of(entry)
        for key, entry in entries.items()
        if isinstance(key, str) and isinstance(entry, str)
    }


def document_id(document: Any, what: str) -> str:
    """The ``Id`` of a document, which every object needs.

    Args:
        document: as the engine gave it.
        what: ``container`` or ``image``, for the error.

    Raises:
        Internal: it has none, or one that no path could carry.
    """
    found = text(document, "Id")
    if not _ID.fullmatch(found):
        raise Internal(f"the engine described a {what} without its id")
    return found
