"""Enum values that the CRI does not have: proto3 carries them through, and an unknown value must
not pass for something.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from asupervisor.errors import InvalidArgument


def check_enums(message: Message, subject: str) -> None:
    """Refuse unknown enum values anywhere in a message.

    Raises:
        InvalidArgument: it names the field and the value.
    """
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        for one in value if field.is_repeated else (value,):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                check_enums(one, subject)
            elif field.enum_type is not None and one not in field.enum_type.values_by_number:
                raise InvalidArgument(
                    f"{subject}: {field.name} {one} is no {field.enum_type.name} that this service"
                    " knows"
                )
