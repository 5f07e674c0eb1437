"""Values that no request may have, in any field: enum values that the CRI does not have, which
proto3 lets pass; and text with a zero byte, at which the kernel would cut it off.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from asupervisor.errors import InvalidArgument


def check_values(message: Message, subject: str) -> None:
    """Refuse such values anywhere in a message, except in labels, annotations and other maps, whose
    content is the caller's.

    Raises:
        InvalidArgument: it names the field and the value.
    """
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        for one in value if field.is_repeated else (value,):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                check_values(one, subject)
            elif field.enum_type is not None and one not in field.enum_type.values_by_number:
                raise InvalidArgument(
                    f"{subject}: {field.name} {one} is not a {field.enum_type.name} that this"
                    " service knows"
                )
            elif field.type == FieldDescriptor.TYPE_STRING and "\0" in one:
                raise InvalidArgument(
                    f"{subject}: {field.name} holds a zero byte, at which the kernel would cut it"
                    " off"
                )
