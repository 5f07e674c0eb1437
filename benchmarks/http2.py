"""As much HTTP/2 as it takes to load a gRPC server on a unix socket from one thread, at a few µs a
call.

A gRPC library costs a Python client more for each call than some servers spend on answering it; on
a machine with few cores it would measure itself. This client sends the same bytes for each call,
its headers indexed (RFC 7541) after the first one, and does not look into answers beyond their
frames (RFC 9113) and the status at their end, which stands there as text, since the server is told
to index no headers. A stream may end well without a message. Everything that became readable is
handled at once, and the requests that follow leave in one write, as a Go client's do."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from time import perf_counter

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_LARGEST_WINDOW = (1 << 31) - 1
_FIRST_WINDOW = 65535
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4
_CREDIT = 1 << 28
"""Bytes of answers after which the connection's window is opened again."""
_FRAME = struct.Struct(">HBBBL")
_RECEIVE_BYTES = 1 << 18
_NEVER_S = 60.0
_STATUS_OK = (b"grpc-status\x010", bytes.fromhex("9acac8b21234da8f") + b"\x010")
"""How the status 0 stands in trailers whose fields are not indexed: its name as it is, as C++ sends
it, and in HPACK's Huffman code, as Go does.
"""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return _FRAME.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 126:
        raise ValueError(f"{text} is too long for a header of this client")
    return bytes([len(raw)]) + raw


def first_headers(path: str) -> bytes:
    """The header block of a gRPC call that has the server remember its fields (HPACK, literals with
    incremental indexing).
    """
    return (
        b"\x83\x86\x44"
        + _text(path)
        + b"\x41"
        + _text("localhost")
        + b"\x40"
        + _text("te")
        + _text("trailers")
        + b"\x5f"
        + _text("application/grpc")
        + b"\x7a"
        + _text("asupervisor-benchmark")
    )


REPEATED_HEADERS = b"\x83\x86\xc2\xc1\xc0\xbf\xbe"
"""The same block once the server has those five fields in its dynamic table."""


class Broken(Exception):
    """The server closed the connection or does not speak HTTP/2."""


@dataclass
class Outcome:
    """What one closed loop of calls gave.

    Attributes:
        latencies_s: of each call that succeeded, from the write of its request to the read that
            brought its end.
        failed: calls that ended with another status than OK, or were reset.
        elapsed_s: from the first request to the last answer.
        bytes: of answers, gRPC framing included.
    """

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    elapsed_s: float = 0.0
    bytes: int = 0


class Connection:
    """One HTTP/2 connection on which one method is called over and over.

    Args:
        path: of the server's unix socket.
        method: ``/package.Service/Method``.
        request: the encoded request message.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, path: str, method: str, request: bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_NEVER_S)
        self._socket.connect(path)
        self._socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(
                _SETTINGS,
                0,
                0,
                struct.pack(
                    ">HLHLHL", _HEADER_TABLE_SIZE, 0, 2, 0, _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW
                ),
            )
            + frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", _LARGEST_WINDOW - _FIRST_WINDOW))
        )
        self._message = b"\x00" + struct.pack(">L", len(request)) + request
        self._headers = first_headers(method)
        self._stream = 1
        self._credit = _FIRST_WINDOW
        self._owed = 0
        self._pending = b""

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _request(self) -> bytes:
        """The bytes of the next call."""
        stream, self._stream = self._stream, self._stream + 2
        head = frame(_HEADERS, _END_HEADERS, stream, self._headers)
        self._headers = REPEATED_HEADERS
        return head + frame(_DATA, _END_STREAM, stream, self._message)

    def run(self, callers: int, seconds: float) -> Outcome:
        """Keep ``callers`` calls under way for ``seconds``, then wait for what is still under way.

        Raises:
            Broken: the server closed the connection.
            TimeoutError: nothing came for a minute.
        """
        outcome = Outcome()
        open_calls: dict[int, list[float]] = {}
        waiting, cost = callers, len(self._message)
        start = now = perf_counter()
        end = start + seconds
        replies = b""
        while True:
            requests = [replies] if replies else []
            while waiting and self._credit >= cost and now < end:
                open_calls[self._stream] = [now, 0]
                requests.append(self._request())
                self._credit -= cost
                waiting -= 1
            if requests:
                self._socket.sendall(b"".join(requests))
            if not open_calls and now >= end:
                break
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise Broken("the server closed the connection")
            now = perf_counter()
            finished, replies = self._take(data, open_calls)
            for stream, failed in finished:
                if stream not in open_calls:
                    # A server may reset a stream that it has ended, where it was quicker than the
                    # request's last frame.
                    continue
                waiting += 1
                begun, received = open_calls.pop(stream)
                outcome.bytes += int(received)
                if failed:
                    outcome.failed += 1
                else:
                    outcome.latencies_s.append(now - begun)
        outcome.elapsed_s = now - start
        return outcome

    def _take(
        self, data: bytes, open_calls: dict[int, list[float]]
    ) -> tuple[list[tuple[int, bool]], bytes]:
        """Go through what came. Returns the streams that ended, each with whether it failed, and
        what is to be sent back.
        """
        if self._pending:
            data, self._pending = self._pending + data, b""
        finished: list[tuple[int, bool]] = []
        replies = b""
        at, size, unpack = 0, len(data), _FRAME.unpack_from
        while at + 9 <= size:
            high, low, kind, flags, stream = unpack(data, at)
            length = high << 8 | low
            if at + 9 + length > size:
                break
            if kind == _DATA:
                open_calls[stream][1] += length
                self._owed += length
                if flags & _END_STREAM:  # gRPC's ends are in headers
                    finished.append((stream, True))
            elif kind == _HEADERS:
                if flags & _END_STREAM:
                    block = data[at + 9 : at + 9 + length]
                    finished.append((stream, not any(status in block for status in _STATUS_OK)))
            else:
                payload = data[at + 9 : at + 9 + length]
                if kind == _RST_STREAM:
                    finished.append((stream, True))
                elif kind == _WINDOW_UPDATE and stream == 0:
                    self._credit += struct.unpack(">L", payload)[0]
                elif kind == _SETTINGS and not flags & _ACK:
                    replies += frame(_SETTINGS, _ACK, 0, b"")
                elif kind == _PING and not flags & _ACK:
                    replies += frame(_PING, _ACK, 0, payload)
                elif kind == _GOAWAY:
                    raise Broken(f"the server says GOAWAY: {payload!r}")
            at += 9 + length
        self._pending = data[at:]
        if self._owed > _CREDIT:
            replies += frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", self._owed))
            self._owed = 0
        return finished, replies
