"""What the client prints: tables for people, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asupervisor.words import json_safe, one_line

if TYPE_CHECKING:
    from asupervisor.client import PodInfo

_SHORT_ID = 13
FORMS = ("table", "text", "wide", "json", "yaml")
"""What ``-o`` takes, beside ``jsonpath=TEMPLATE``; ``text`` is ``table``."""
JSONPATH = "jsonpath="


def output_form(text: str) -> str:
    """What ``-o`` was given.

    Raises:
        ValueError: there is no such form.
    """
    if text not in FORMS and not text.startswith(JSONPATH):
        raise ValueError(text)
    return text


def is_document(form: str) -> bool:
    """Whether a form is for programs."""
    return form in ("json", "yaml") or form.startswith(JSONPATH)


def print_document(form: str, document: Any) -> bool:
    """Print what a program reads; False where a table is wanted.

    Args:
        form: as :func:`output_form` returns it.
        document: an object or a list of objects; protobuf messages may stand in it.

    Raises:
        ConfigError: the template is malformed.
    """
    if form == "json":
        print_json(document)
        return True
    if not is_document(form):
        return False
    import orjson

    plain = orjson.loads(orjson.dumps(document, default=as_document))
    if form == "yaml":
        import yaml

        print(yaml.safe_dump(plain, sort_keys=False), end="")
    else:
        from asupervisor.cli.jsonpath import render

        # A script gets the text unchanged.
        shown = one_line if sys.stdout.isatty() else str
        print(render(form.removeprefix(JSONPATH), plain, shown))
    return True


def say(text: str) -> None:
    """One line for people, beside the output."""
    print(f"asupervisor: {one_line(text)}", file=sys.stderr)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is not padded."""
    lines = [header, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        print(
            "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """``name: value`` lines with the values in one column."""
    width = max(len(name) for name, _ in fields) + 1
    for name, value in fields:
        print(f"{f'{name}:':{width}} {one_line(value)}".rstrip())


def print_json(document: Any) -> None:
    """An object or a list of objects, indented; protobuf messages may stand in it."""
    import orjson

    text = orjson.dumps(
        document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=as_document
    ).decode()
    # Line breaks of the indentation stay; those within a string are escapes already.
    print("\n".join(map(json_safe, text.split("\n"))))


def as_document(message: Any) -> Any:
    """A protobuf message as a JSON object, under the names of the JSON mapping and with every
    field, set or not.
    """
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, always_print_fields_with_no_presence=True)


def verbose_information(info: Any) -> dict[str, Any]:
    """The ``info`` of a verbose answer: values that are JSON texts become objects."""
    import orjson

    found: dict[str, Any] = {}
    for key, value in info.items():
        try:
            found[key] = orjson.loads(value)
        except ValueError:
            found[key] = value
    return found


def short_id(identifier: str) -> str:
    """An id as tables show it; without the algorithm of a digest."""
    return identifier.removeprefix("sha256:")[:_SHORT_ID]


def readiness(pod: PodInfo) -> str:
    """Whether a pod runs, in a word."""
    return "Ready" if pod.ready else "NotReady"


def age(created_at_ns: int) -> str:
    """How long ago a CRI time (Unix nanoseconds) was, in its largest unit; ``-`` for none."""
    if created_at_ns <= 0:
        return "-"
    seconds = max(0.0, time.time() - created_at_ns / 1e9)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"


def size(count_bytes: int) -> str:
    """Bytes in decimal units, as image sizes are given."""
    value = float(count_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
