"""NRI's messages hold to their table, both ways."""

from __future__ import annotations

import csv
from pathlib import Path

from asupervisor.proto.nri.v1alpha1 import api_pb2
from tests.unit.proto.test_wire import is_map, type_name

TABLE = Path(__file__).parents[2] / "data" / "nri" / "v1alpha1.tsv"
PREFIX = api_pb2.DESCRIPTOR.package + "."


def test_messages_rpcs_and_enums_are_those_of_the_table() -> None:
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    wanted = {
        (row["kind"], row["parent"], row["number"] or "", row["name"], row["type"] or "")
        for row in rows
        if row["kind"] in ("field", "rpc")
    }
    found = set()
    for service in api_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            types = f"{method.input_type.name} -> {method.output_type.name}"
            found.add(("rpc", service.name, "", method.name, types))
    for message in api_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            kind = type_name(field).replace(",", ", ")
            if field.enum_type is not None and not is_map(field):
                kind = field.enum_type.full_name.removeprefix(PREFIX)
            found.add(("field", message.name, str(field.number), field.name, kind))
    assert found == wanted


def test_values_of_enums_are_those_of_the_table() -> None:
    with TABLE.open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["kind"] == "value"]
    enums = {
        enum.full_name.removeprefix(PREFIX): enum
        for enum in (
            *api_pb2.DESCRIPTOR.enum_types_by_name.values(),
            *(
                enum
                for message in api_pb2.DESCRIPTOR.message_types_by_name.values()
                for enum in message.enum_types
            ),
        )
    }
    wanted = {(row["parent"], int(row["number"]), row["name"]) for row in rows}
    found = {
        (name, value.number, value.name.replace("FIELD_NONE", "None"))
        for name, enum in enums.items()
        for value in enum.values
    }
    assert found == wanted
