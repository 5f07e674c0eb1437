"""Makes HTML of elements and text. Everything that is not :class:`Html` is text, and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from asupervisor.words import bounded_line

_LONGEST_BYTES = 3000


class Html(str):
    """Text that is HTML already, since it was made here."""

    __slots__ = ()


Content = str | int | float | None


def text(value: Content) -> Html:
    """HTML unchanged; anything else escaped, on one line, and cut if it is long."""
    if isinstance(value, Html):
        return value
    shown = "" if value is None else str(value)
    return Html(html.escape(bounded_line(shown, _LONGEST_BYTES)))


def tag(name: str, *content: Content, **attributes: Content) -> Html:
    """One element.

    Args:
        name: of the element.
        content: what is in it.
        attributes: ``class_`` is ``class``, ``aria_label`` is ``aria-label``.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{written}>{''.join(map(text, content))}</{name}>")


def join(parts: Iterable[Content]) -> Html:
    """The parts, one after the other."""
    return Html("".join(map(text, parts)))


def table(header: Sequence[str], rows: Iterable[Sequence[Content]], empty: str) -> Html:
    """A table, or the sentence ``empty`` if it has no row."""
    body = join(_row(header, row) for row in rows)
    if not body:
        return tag("p", empty, class_="empty")
    head = tag("tr", *(tag("th", one, scope="col") for one in header))
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll")


def _row(header: Sequence[str], row: Sequence[Content]) -> Html:
    """Each cell has the name of its column: on a phone the cells are below each other."""
    cells = zip(header, row, strict=True)
    return tag("tr", *(tag("td", cell, data_label=name) for name, cell in cells))
