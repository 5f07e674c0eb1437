"""ttrpc, as state without I/O: calls and their answers on one connection.

A message is a header of ten bytes (length, stream, type, flags; big endian) and so many bytes, at
most 4 MiB. A call is one message of the type "request" on a new stream, whose number is odd and
higher than all before; its answer is one message of the type "response" on the same stream. NRI has
no streams of several messages in one direction; they end the connection.

Source: containerd/ttrpc, PROTOCOL.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from asupervisor.proto.ttrpc import request_pb2 as wire

_HEADER = struct.Struct(">IIBB")
LONGEST_MESSAGE = 4 << 20
"""Bytes, without its header."""
_REQUEST, _RESPONSE = 1, 2
_REMOTE_OPEN = 2
"""The flag of a caller that goes on sending."""

OK = 0
UNKNOWN = 2
INVALID_ARGUMENT = 3
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
"""gRPC's status codes, as far as they are used here."""


class ProtocolError(Exception):
    """The peer broke the protocol; the connection has to end."""


class TooLong(Exception):
    """A message that was to be sent is longer than the peer takes."""

    def __init__(self, length: int) -> None:
        super().__init__(f"a message of {length} bytes is longer than {LONGEST_MESSAGE}")


@dataclass(frozen=True, slots=True)
class Call:
    """A call from the peer."""

    stream: int
    service: str
    method: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The peer's answer to one of our calls."""

    stream: int
    code: int
    message: str
    payload: bytes


def encode_call(stream: int, service: str, method: str, payload: bytes, timeout_s: float) -> bytes:
    """A call as it is sent.

    Args:
        stream: odd, and higher than all before it on this connection.
        service, method: what is called.
        payload: the encoded request.
        timeout_s: seconds after which the caller no longer waits.

    Raises:
        TooLong: the request is too long.
    """
    request = wire.Request(
        service=service, method=method, payload=payload, timeout_nano=int(timeout_s * 1e9)
    )
    return _message(stream, _REQUEST, request.SerializeToString())


def encode_answer(stream: int, payload: bytes, code: int = OK, message: str = "") -> bytes:
    """An answer as it is sent.

    Raises:
        TooLong: the answer is too long.
    """
    status = wire.Status(code=code, message=message) if code else None
    return _message(
        stream, _RESPONSE, wire.Response(status=status, payload=payload).SerializeToString()
    )


def _message(stream: int, kind: int, payload: bytes) -> bytes:
    if len(payload) > LONGEST_MESSAGE:
        raise TooLong(len(payload))
    return _HEADER.pack(len(payload), stream, kind, 0) + payload


class Receiver:
    """Takes the bytes of one connection, and gives the messages in them. It never holds more than
    one message.

    Args:
        serves: whether the peer calls on this connection; else it answers.
    """

    def __init__(self, serves: bool) -> None:
        self._serves = serves
        self._buffer = bytearray()
        self._last_stream = 0

    def receive(self, data: bytes) -> Iterator[Call | Answer]:
        """Take some bytes.

        Raises:
            ProtocolError: the peer broke the protocol.
        """
        while data:
            wanted = self._wanted()
            taken, data = data[: wanted - len(self._buffer)], data[wanted - len(self._buffer) :]
            self._buffer += taken
            if len(self._buffer) >= _HEADER.size and len(self._buffer) == self._wanted():
                _, stream, kind, flags = _HEADER.unpack_from(self._buffer)
                payload = bytes(self._buffer[_HEADER.size :])
                self._buffer = bytearray()
                yield self._read(stream, kind, flags, payload)

    def _wanted(self) -> int:
        """Bytes of the message that is being received, or of its header until that is complete."""
        if len(self._buffer) < _HEADER.size:
            return _HEADER.size
        length = int(_HEADER.unpack_from(self._buffer)[0])
        if length > LONGEST_MESSAGE:
            raise ProtocolError(f"a message of {length} bytes")
        return _HEADER.size + length

    def _read(self, stream: int, kind: int, flags: int, payload: bytes) -> Call | Answer:
        if kind != (_REQUEST if self._serves else _RESPONSE):
            raise ProtocolError(f"a message of the type {kind}")
        try:
            return self._call(stream, flags, payload) if self._serves else _answer(stream, payload)
        except DecodeError as error:
            raise ProtocolError("a message that is not ttrpc's") from error

    def _call(self, stream: int, flags: int, payload: bytes) -> Call:
        if stream % 2 == 0 or stream <= self._last_stream:
            raise ProtocolError(f"a call on stream {stream} after {self._last_stream}")
        if flags & _REMOTE_OPEN:
            raise ProtocolError("a call of several messages")
        self._last_stream = stream
        request = wire.Request.FromString(payload)
        return Call(stream, request.service, request.method, request.payload)


def _answer(stream: int, payload: bytes) -> Answer:
    response = wire.Response.FromString(payload)
    return Answer(stream, response.status.code, response.status.message, response.payload)
