"""Files and functions stay small enough to be read at once, or say why they are not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import asupervisor

_SOURCES = [
    path
    for path in Path(asupervisor.__file__).parent.rglob("*.py")
    if not path.name.endswith("_pb2.py")  # generated
]
_FILE_LINES = 400
_FUNCTION_LINES = 60
_REASON = "long: "
"""Stands with the reason in a comment: on the line of the definition, or alone in a line of its
file."""


def _long_functions(path: Path) -> Iterator[str]:
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            if size > _FUNCTION_LINES and _REASON not in lines[node.lineno - 1]:
                yield f"{path}:{node.lineno} {node.name}: {size} lines"


def test_functions_of_more_than_60_lines_give_their_reason() -> None:
    assert [one for path in _SOURCES for one in _long_functions(path)] == []


def test_files_of_more_than_400_lines_give_their_reason() -> None:
    sizes = {path: path.read_text().splitlines() for path in _SOURCES}
    found = {
        str(path): len(lines)
        for path, lines in sizes.items()
        if len(lines) > _FILE_LINES and not any(line.startswith(f"# {_REASON}") for line in lines)
    }
    assert found == {}
