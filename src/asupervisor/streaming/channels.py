"""The WebSocket channel protocols, without I/O: which channel a message belongs to, and what it
carries.

A message's first byte names the channel: a byte 0 to 255 in binary protocols, a digit before base64
text in the base64 ones. In ``v5.channel.k8s.io`` the message ``255, channel`` half-closes a
channel; the older protocols cannot do that."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255
"""The channel number with which v5 closes another channel."""

MAX_TEXT_MESSAGE_BYTES = 1024 * 1024
"""Longest base64 message: it has to be complete before it is decoded."""


class ChannelError(Exception):
    """The peer broke the protocol; the connection is closed with code 1002."""


@dataclass(frozen=True, slots=True)
class ChannelProtocol:
    """One subprotocol.

    Args:
        name: as negotiated; empty for a client that asked for none.
        version: of the remote command protocol; it decides the form of the error channel.
        base64: whether messages are text.
    """

    name: str
    version: int
    base64: bool = False

    @property
    def closes_channels(self) -> bool:
        """Whether the protocol has a half-close."""
        return self.version >= 5


@dataclass(slots=True)
class ChannelData:
    """Bytes for a channel; empty ones say that the channel is there."""

    channel: int
    data: bytes


@dataclass(slots=True)
class ChannelClosed:
    """The peer sends no more on a channel."""

    channel: int


class ChannelDecoder:
    """Finds the channels of WebSocket messages, which come in pieces.

    Binary data is passed on piece by piece; only base64 text, and the two bytes of a close, are
    kept until they are complete.

    Args:
        protocol: what was negotiated.
    """

    def __init__(self, protocol: ChannelProtocol) -> None:
        self._protocol = protocol
        self._channel: int | None = None
        self._kept = bytearray()

    def feed(self, data: bytes, *, text: bool, finished: bool) -> list[ChannelData | ChannelClosed]:
        """Take a piece of a message.

        Args:
            data: its bytes; a text message's as UTF-8.
            text: whether the message is a text message.
            finished: whether the message ends with this piece.

        Raises:
            ChannelError: the message breaks the protocol.
        """
        if text and not self._protocol.base64:
            raise ChannelError(f"a text message in {self._protocol.name or 'the binary protocol'}")
        # Some base64 clients send their text in binary messages; the content is the same.
        return self._text(data, finished) if self._protocol.base64 else self._binary(data, finished)

    def _binary(self, data: bytes, finished: bool) -> list[ChannelData | ChannelClosed]:
        found: list[ChannelData | ChannelClosed] = []
        named = self._channel is None and bool(data)
        if named:
            self._channel, data = data[0], data[1:]
        if self._channel == CLOSE and self._protocol.closes_channels:
            self._kept += data
            if len(self._kept) > 1:
                raise ChannelError("a close of more than one channel")
            if finished and not self._kept:
                raise ChannelError("a close of no channel")
            if finished:
                found.append(ChannelClosed(self._kept[0]))
        elif self._channel is not None and (data or named):
            found.append(ChannelData(self._channel, data))
        if finished:
            self._channel = None
            self._kept.clear()
        return found

    def _text(self, data: bytes, finished: bool) -> list[ChannelData | ChannelClosed]:
        if len(self._kept) + len(data) > MAX_TEXT_MESSAGE_BYTES:
            raise ChannelError(f"a message of more than {MAX_TEXT_MESSAGE_BYTES} bytes")
        self._kept += data
        if not finished or not self._kept:
            return []
        message = bytes(self._kept)
        self._kept.clear()
        channel = message[0] - ord("0")
        if not 0 <= channel <= 9:
            raise ChannelError(f"channel {message[:1]!r} is not a digit")
        try:
            return [ChannelData(channel, base64.b64decode(message[1:], validate=True))]
        except binascii.Error as error:
            raise ChannelError(f"no base64 ({error})") from error


def encode(protocol: ChannelProtocol, channel: int, data: bytes) -> bytes:
    """One message's payload for a channel; in base64 protocols it is ASCII, for a text message."""
    if protocol.base64:
        return bytes((ord("0") + channel,)) + base64.b64encode(data)
    return bytes((channel,)) + data


def encode_close(channel: int) -> bytes:
    """The v5 message that half-closes a channel."""
    return bytes((CLOSE, channel))
