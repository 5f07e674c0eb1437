"""A gRPC client that calls and does not read the answer: HTTP/2 as far as one call needs it."""

from __future__ import annotations

import socket

from google.protobuf.message import Message

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4


def call_and_stay_silent(path: str, method: str, request: Message) -> socket.socket:
    """Make one call on a connection of its own.

    Args:
        path: of the server's socket.
        method: such as ``/runtime.v1.RuntimeService/ExecSync``.
        request: what is asked.

    Returns:
        The connection; closing it ends the call.
    """
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    # HPACK: each a literal with a literal name, in no table (RFC 7541, 6.2.2).
    head = b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in fields.items()
    )
    content = request.SerializeToString()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, head)
        + _frame(_DATA, _END_STREAM, 1, b"\0" + len(content).to_bytes(4, "big") + content)
    )
    return connection


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )
