"""The engine's answer to ``GET /containers/<id>/logs?follow=1&timestamps=1`` as messages: a state
machine over bytes, no I/O.

Without a tty the body is frames (``translate/stream_frames.py``) of one message each; with a tty it
is the messages alone. A message is ``<time, 30 characters> <content>``; without a newline at its
end it goes on in the next one."""

from __future__ import annotations

from dataclasses import dataclass

from asupervisor.logs.lines import MAX_CONTENT_BYTES
from asupervisor.translate.stream_frames import STDERR, STDIN, STDOUT, StreamFrames

_TIME_BYTES = 30
_STREAMS = {STDIN: b"stdin", STDOUT: b"stdout", STDERR: b"stderr"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a container.

    Args:
        time: RFC 3339 with nine digits of fraction, UTC.
        stream: ``stdout`` or ``stderr``.
        content: with its newline where the line is whole.
    """

    time: bytes
    stream: bytes
    content: bytes


class HttpBody:
    """An HTTP/1.1 response with a chunked body, fed as it comes.

    Attributes:
        status: 0 until the head is there.
        ended: whether the body is complete; a connection that closes before that was cut.
    """

    def __init__(self) -> None:
        self.status = 0
        self.ended = False
        self._buffer = bytearray()
        self._chunked = False
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes off the wire, give bytes of the body.

        Raises:
            ValueError: this is not an HTTP response.
        """
        self._buffer += data
        if not self.status:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return b""
            first, *fields = bytes(head).split(b"\r\n")
            self.status = int(first.split(b" ")[1])
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (field.partition(b":") for field in fields)
            }
            self._chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
            self._left = int(headers.get(b"content-length", b"0"))
            self._buffer = rest
        return self._take_chunks() if self._chunked else self._take_plain()

    def _take_plain(self) -> bytes:
        body = bytes(self._buffer[: self._left])
        self._left -= len(body)
        self._buffer.clear()
        self.ended = self._left == 0
        return body

    def _take_chunks(self) -> bytes:
        body = bytearray()
        position = 0
        while not self.ended:
            if self._left > 2:
                part = self._buffer[position : position + self._left - 2]
                body += part
                position += len(part)
                self._left -= len(part)
                if self._left > 2:
                    break
            if self._left:
                if len(self._buffer) - position < self._left:
                    break
                position += self._left
                self._left = 0
            end = self._buffer.find(b"\r\n", position)
            if end < 0:
                break
            size = int(bytes(self._buffer[position:end]).split(b";")[0], 16)
            position = end + 2
            self.ended = size == 0
            # The chunk's own CRLF counts as part of it.
            self._left = size + 2
        del self._buffer[:position]
        return bytes(body)


class Messages:
    """Cuts a body into messages.

    Args:
        tty: whether the container has one.
    """

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._buffer = b""
        self._frames = StreamFrames()
        self._parts: list[bytes] = []

    def feed(self, body: bytes) -> list[Message]:
        """Take bytes of the body, give whole messages."""
        if self._tty:
            self._buffer += body
            return self._unframed()
        return self._framed(body)

    def _framed(self, body: bytes) -> list[Message]:
        found: list[Message] = []
        self._frames.feed(body)
        while self._frames.pending:
            for number, data, ends in self._frames.take():
                self._parts.append(data)
                if ends:
                    payload = b"".join(self._parts)
                    self._parts.clear()
                    found.append(
                        Message(
                            payload[:_TIME_BYTES],
                            _STREAMS.get(number, b"stderr"),
                            payload[_TIME_BYTES + 1 :],
                        )
                    )
        return found

    def _unframed(self) -> list[Message]:
        found: list[Message] = []
        data, position = self._buffer, 0
        while len(data) - position > _TIME_BYTES:
            start = position + _TIME_BYTES + 1
            end = data.find(b"\n", start, start + MAX_CONTENT_BYTES + 1) + 1
            if not end:
                # The engine breaks a line after 16 KiB and puts the time before each part.
                end = start + MAX_CONTENT_BYTES
                if len(data) <= end:
                    break
            found.append(
                Message(data[position : position + _TIME_BYTES], b"stdout", data[start:end])
            )
            position = end
        self._buffer = data[position:]
        return found

    def rest(self) -> list[Message]:
        """What is left when the body has ended: a last line without a newline, under a tty."""
        data, self._buffer = self._buffer, b""
        if not self._tty or len(data) <= _TIME_BYTES + 1:
            return []
        return [Message(data[:_TIME_BYTES], b"stdout", data[_TIME_BYTES + 1 :])]
