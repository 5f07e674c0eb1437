"""The multiplexer: several connections on one socket, as state without I/O.

A frame is a connection's number and a length, four bytes each, big endian, and then so many bytes.
There are no frames for opening and closing; what arrives for an unknown number is dropped. A
payload is passed on in the pieces in which it arrives: a frame may be of any length, and only its
header is kept.

Source: containerd/nri, pkg/net/multiplex."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEADER = struct.Struct(">II")
PLUGIN_CONNECTION = 1
"""The plugin serves on it, the runtime calls."""
RUNTIME_CONNECTION = 2
"""The runtime serves on it, the plugin calls."""
_FIRST_PAYLOAD = 4096
"""Bytes. The library in Go reads the first part of a message into a buffer of this size, and fails
at a longer frame; the rest of the message may be one frame."""


def frames(connection: int, message: bytes) -> bytes:
    """A whole message as the frames that carry it.

    Args:
        connection: its number.
        message: one message of the protocol above.
    """
    parts = [part for part in (message[:_FIRST_PAYLOAD], message[_FIRST_PAYLOAD:]) if part]
    return b"".join(_HEADER.pack(connection, len(part)) + part for part in parts)


class Demultiplexer:
    """Divides the bytes of a socket among the connections."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._connection = 0
        self._missing = 0

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take some bytes.

        Yields:
            A connection's number and bytes for it, in order. For an empty frame, which no peer
            needs to send, the number is 0, which is no connection's.
        """
        position = 0
        while position < len(data):
            if self._missing:
                piece = data[position : position + self._missing]
                self._missing -= len(piece)
                position += len(piece)
                yield self._connection, piece
                continue
            taken = data[position : position + _HEADER.size - len(self._header)]
            self._header += taken
            position += len(taken)
            if len(self._header) == _HEADER.size:
                self._connection, self._missing = _HEADER.unpack(self._header)
                self._header.clear()
                if not self._missing:
                    yield 0, b""
