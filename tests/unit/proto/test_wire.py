"""The messages hold to the tables of the CRI, both ways: nothing is missing, nothing is more."""

from __future__ import annotations

import csv
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from asupervisor.proto import cri

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data" / "cri"
Row = tuple[str, str, str, str, str, str]
V1, V1ALPHA2 = "v1.tsv", "v1alpha2.tsv"

SCALARS = {
    "TYPE_DOUBLE": "double",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64",
    "TYPE_BOOL": "bool",
    "TYPE_STRING": "string",
    "TYPE_BYTES": "bytes",
}


def table(name: str) -> set[Row]:
    """The rows of a table: kind, parent, number, name, type, label."""
    with (DATA / name).open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows[0] == ["kind", "parent", "number", "name", "type", "label"]
    padded = [(*row, *[""] * (6 - len(row))) for row in rows[1:]]
    assert len(set(padded)) == len(padded), "a row is there twice"
    return set(padded)  # type: ignore[arg-type]


def type_name(field: Any) -> str:
    """A field's type as the tables spell it: without package and parents, a map as
    ``map<key,value>``.
    """
    kind = field.type
    named = (
        field.message_type
        if kind == field.TYPE_MESSAGE
        else field.enum_type
        if kind == field.TYPE_ENUM
        else None
    )
    if named is None:
        return next(SCALARS[name] for name in SCALARS if getattr(field, name) == kind)
    if is_map(field):
        entry = field.message_type.fields_by_name
        return f"map<{type_name(entry['key'])},{type_name(entry['value'])}>"
    return str(named.name)


def is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def rows_of_enum(enum: Any) -> set[Row]:
    parent = enum.full_name.removeprefix("runtime.v1.")
    return {("enum", parent, str(value.number), value.name, "", "") for value in enum.values}


def rows_of_message(message: Any) -> set[Row]:
    parent = message.full_name.removeprefix("runtime.v1.")
    rows: set[Row] = set()
    if not message.fields:
        rows.add(("message", parent, "", "", "", ""))
    for field in message.fields:
        label = "repeated" if field.is_repeated and not is_map(field) else ""
        rows.add(("field", parent, str(field.number), field.name, type_name(field), label))
    for enum in message.enum_types:
        rows |= rows_of_enum(enum)
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            rows |= rows_of_message(nested)
    return rows


@cache
def rows_of_descriptors() -> set[Row]:
    """What the generated code holds, in the tables' form."""
    rows: set[Row] = {("package", "", "", cri.DESCRIPTOR.package, "", "")}
    for service in cri.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            requests = ("stream " if method.client_streaming else "") + method.input_type.name
            responses = ("stream " if method.server_streaming else "") + method.output_type.name
            rows.add(("rpc", service.name, "", method.name, f"{requests} -> {responses}", ""))
    for enum in cri.DESCRIPTOR.enum_types_by_name.values():
        rows |= rows_of_enum(enum)
    for message in cri.DESCRIPTOR.message_types_by_name.values():
        rows |= rows_of_message(message)
    return rows


@pytest.mark.parametrize("row", sorted(table(V1)), ids=lambda row: ":".join(filter(None, row[:4])))
def test_row_of_v1_is_in_the_descriptors(row: Row) -> None:
    assert row in rows_of_descriptors()


def test_descriptors_hold_nothing_beyond_v1() -> None:
    assert rows_of_descriptors() - table(V1) == set()


@pytest.mark.parametrize(
    "row", sorted(table(V1ALPHA2)), ids=lambda row: ":".join(filter(None, row[:4]))
)
def test_row_of_v1alpha2_is_in_the_descriptors(row: Row) -> None:
    """One set of messages serves both services: v1alpha2 is v1 as of its removal, apart from what
    is named here.
    """
    if row[0] == "package":
        assert row[3] == "runtime.v1alpha2"
    elif row[0] == "message":
        assert row[1] in cri.DESCRIPTOR.message_types_by_name, (
            "empty there; may have grown fields since"
        )
    elif row[:4] == ("field", "KeyValue", "2", "value"):
        assert row[4] == "string", "there; bytes in v1, which has the same wire type"
        assert (*row[:4], "bytes", row[5]) in rows_of_descriptors()
    else:
        assert row in rows_of_descriptors()


def test_v1alpha2_text_is_v1_bytes() -> None:
    """What a v1alpha2 client sends as a string arrives as the same bytes."""
    wire = b"\n\x01k\x12\x03\xc3\xbcx"
    assert cri.KeyValue.FromString(wire) == cri.KeyValue(key="k", value="\u00fcx".encode())


def test_every_service_message_and_rpc_has_a_comment() -> None:
    lines = [
        line.strip()
        for line in (ROOT / "proto" / "runtime" / "v1" / "api.proto").read_text().splitlines()
    ]
    declared = [
        number
        for number, line in enumerate(lines)
        if line.startswith(("service ", "message ", "enum ", "rpc "))
    ]
    assert len(declared) > 200
    assert [lines[number] for number in declared if not lines[number - 1].startswith("// ")] == []


def test_checked_in_code_is_what_the_protocol_files_give() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools (dependency group dev) is not installed")
    check = subprocess.run(
        [sys.executable, str(ROOT / "proto" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
