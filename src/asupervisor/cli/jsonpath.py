"""``-o jsonpath=TEMPLATE``: text with paths in braces, the part of kubectl's JSONPath that names
fields, elements of lists and all elements: ``{[*].metadata.name}``, ``{.status.id}{"\\n"}``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from asupervisor.errors import ConfigError

_PART = re.compile(r"\{([^{}]*)\}|([^{}]+)")
_STEP = re.compile(r"\.([\w/-]+)|\[(\*|\d+)\]|\['([^']+)'\]")


def render(template: str, document: Any, shown: Callable[[str], str] = str) -> str:
    """Fill a template; several values of a path are separated by a space, and what is not there
    is empty.

    Args:
        template: as the user wrote it.
        document: plain values.
        shown: makes what is written of a text of the document.

    Raises:
        ConfigError: the template is malformed.
    """
    found, position = [], 0
    for part in _PART.finditer(template):
        if part.start() != position:
            break
        position = part.end()
        path, text = part.groups()
        found.append(text if path is None else _value(path, document, shown))
    if position != len(template):
        raise ConfigError(f'jsonpath: "{template[position:]}" is not text or a path in braces')
    return "".join(found)


def _value(path: str, document: Any, shown: Callable[[str], str]) -> str:
    if path.startswith('"'):
        try:
            return str(json.loads(path))
        except ValueError as error:
            raise ConfigError(f"jsonpath: {path} is not a text in quotes") from error
    values, position = [document], 1 if path.startswith("$") else 0
    while position < len(path) and path[position:] != ".":
        step = _STEP.match(path, position)
        if step is None:
            raise ConfigError(
                f'jsonpath: "{path[position:]}" is neither .NAME nor [NUMBER] nor [*]'
            )
        position = step.end()
        values = [below for value in values for below in _below(value, *step.groups())]
    return " ".join(shown(each) if isinstance(each, str) else json.dumps(each) for each in values)


def _below(value: Any, name: str | None, index: str | None, quoted: str | None) -> list[Any]:
    if index == "*":
        return list(value.values() if isinstance(value, dict) else value) if value else []
    if index is not None:
        here = isinstance(value, list) and int(index) < len(value)
        return [value[int(index)]] if here else []
    key = name or quoted
    return [value[key]] if isinstance(value, dict) and key in value else []
