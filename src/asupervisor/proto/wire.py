"""Encodes protobuf messages out of parts that are encoded already: the fields of a message can
simply be joined."""

from __future__ import annotations

from google.protobuf.message import Message

_SHORT = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """A varint of a number that is not negative."""
    if value < 0x80:
        return _SHORT[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field(number: int, content: bytes) -> bytes:
    """One length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def encode_field(number: int, message: Message) -> bytes:
    """One message as a field of its parent."""
    return field(number, message.SerializeToString(deterministic=True))


def retag(number: int, encoded: bytes) -> bytes:
    """An encoded field under another number; both below 16."""
    return _SHORT[number << 3 | 2] + encoded[1:]


def payload(encoded: bytes) -> bytes:
    """What an encoded field holds, without its tag and length."""
    start = 1
    while encoded[start] & 0x80:
        start += 1
    return encoded[start + 1 :]
