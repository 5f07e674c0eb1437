"""docs/cri.md against the descriptors: no RPC and no request field is forgotten, none is made up,
none is without a verdict.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from asupervisor.dockershim.rpc.methods import SERVICES, all_methods
from asupervisor.proto import cri

_PAGE = Path(__file__).parents[3] / "docs" / "cri.md"
_ROW = re.compile(r"\| `(\w+)` \| ([^|]+?) \| (.*?) ?\|$")
_CODES = {code.name for code in grpc.StatusCode}
_VERDICTS = {"1.41", "1.44", "1.48", "1.50", "refused", "informative"}


def _tables() -> dict[str, dict[str, tuple[str, str]]]:
    """By heading: verdict and note of each row."""
    tables: dict[str, dict[str, tuple[str, str]]] = {}
    heading = ""
    for line in _PAGE.read_text().splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
            assert heading not in tables, f"two tables for {heading}"
            tables[heading] = {}
        elif match := _ROW.match(line):
            name, verdict, note = match.groups()
            assert name not in tables[heading], f"two rows for {heading}.{name}"
            tables[heading][name] = (verdict, note)
    return tables


def _request_messages() -> dict[str, Any]:
    """Every message that a request can hold, by name; map entries aside."""
    found: dict[str, Any] = {}
    waiting = [method.request_type.DESCRIPTOR for method in all_methods()]
    while waiting:
        message = waiting.pop()
        if message.name in found:
            continue
        found[message.name] = message
        waiting += [
            field.message_type
            for field in message.fields
            if field.message_type and not field.message_type.GetOptions().map_entry
        ]
    return found


TABLES = _tables()


@pytest.mark.parametrize("service", SERVICES)
def test_every_rpc_has_a_row(service: str) -> None:
    assert list(TABLES[service]) == [
        method.name for method in cri.DESCRIPTOR.services_by_name[service].methods
    ]


def test_there_are_43_rpcs() -> None:
    assert sum(len(TABLES[service]) for service in SERVICES) == 43


def test_an_rpc_has_a_verb_whatever_its_verdict() -> None:
    for method in all_methods():
        if method.name != "Version":
            assert (method.unary or method.streaming) is not None, method.name


@pytest.mark.parametrize(("name", "message"), sorted(_request_messages().items()))
def test_every_field_of_every_request_has_a_row(name: str, message: Any) -> None:
    assert set(TABLES.get(name, {})) == {field.name for field in message.fields}


def test_no_table_is_made_up() -> None:
    assert set(TABLES) <= {*_request_messages(), *SERVICES}


def test_every_row_has_a_verdict_and_a_refusal_its_error() -> None:
    for heading, rows in TABLES.items():
        for name, (verdict, note) in rows.items():
            assert verdict in _VERDICTS, f"{heading}.{name}"
            if verdict == "refused":
                assert any(code in note for code in _CODES), f"{heading}.{name} names no error"
            if verdict == "informative":
                assert note, f"{heading}.{name} does not say what becomes of it"
