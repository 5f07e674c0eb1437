"""Frames on the wire.

A frame is 8 bytes of head and its payload. The top bit of the head is set in control frames
(version, type, flags, length) and not in data frames (stream, flags, length). The payload of a data
frame is passed on as it comes, so that its length costs no memory. A control frame is kept until it
is complete, and so may not be longer than a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from asupervisor.streaming.spdy.codes import (
    FLAG_FIN,
    SETTINGS_INITIAL_WINDOW_SIZE,
    VERSION,
    FrameType,
    GoAwayStatus,
    ResetCode,
)
from asupervisor.streaming.spdy.limits import RemoteProtocolError

HEAD_BYTES = 8
MAX_PAYLOAD = 0xFFFFFF
"""Bytes: the highest value of the length field."""

_HEAD = Struct(">II")
_WORD = Struct(">I")
_CONTROL = 0x80000000
_STREAM_MASK = 0x7FFFFFFF

_SHORTEST = {
    FrameType.SYN_STREAM: 10,
    FrameType.SYN_REPLY: 4,
    FrameType.RST_STREAM: 8,
    FrameType.SETTINGS: 4,
    FrameType.PING: 4,
    FrameType.GOAWAY: 8,
    FrameType.HEADERS: 4,
    FrameType.WINDOW_UPDATE: 8,
}
_FIXED = {FrameType.RST_STREAM, FrameType.PING, FrameType.GOAWAY, FrameType.WINDOW_UPDATE}


@dataclass(slots=True)
class DataPart:
    """A part of a data frame's payload, or all of it; ``fin`` only with its last part."""

    stream_id: int
    data: bytes
    fin: bool


@dataclass(slots=True)
class ControlFrame:
    """One whole control frame of a known type, its payload long enough for its fixed fields."""

    type: FrameType
    flags: int
    payload: bytes

    def word(self, index: int) -> int:
        """The payload's ``index``-th 32-bit word."""
        return int(_WORD.unpack_from(self.payload, 4 * index)[0])

    @property
    def stream_id(self) -> int:
        """The stream that the first word names."""
        return self.word(0) & _STREAM_MASK

    @property
    def fin(self) -> bool:
        """Whether the sender half-closes the stream with this frame."""
        return bool(self.flags & FLAG_FIN)


class FrameParser:
    """Finds the frames in a byte stream, which comes in any pieces.

    Args:
        max_control_bytes: longest payload of a control frame.
    """

    def __init__(self, max_control_bytes: int) -> None:
        self._max_control_bytes = max_control_bytes
        self._kept = bytearray()
        self._need = HEAD_BYTES
        self._control: tuple[FrameType, int] | None = None
        self._data_stream = 0
        self._data_left = 0
        self._data_fin = False
        self._skip = 0
        self.unknown_frames = 0
        """Frames so far of unknown types."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a frame that is not complete; at most the longest control frame."""
        return len(self._kept)

    def steps(self, data: bytes) -> Iterator[DataPart | ControlFrame | None]:
        """Yield what ``data`` completes, and None after each head whose frame is not complete, so
        that the caller can bound its steps whatever the peer sends.

        Raises:
            RemoteProtocolError: a frame of another version, too short for its type, or longer than
                the limit.
        """
        position, end = 0, len(data)
        while position < end:
            if self._data_left:
                part = data[position : position + self._data_left]
                position += len(part)
                self._data_left -= len(part)
                yield DataPart(self._data_stream, part, self._data_fin and not self._data_left)
                continue
            if self._skip:
                step = min(self._skip, end - position)
                position += step
                self._skip -= step
                continue
            step = min(self._need - len(self._kept), end - position)
            self._kept += data[position : position + step]
            position += step
            if len(self._kept) < self._need:
                return
            piece = bytes(self._kept)
            self._kept.clear()
            if self._control is not None:
                kind, flags = self._control
                self._control, self._need = None, HEAD_BYTES
                yield ControlFrame(kind, flags, piece)
            else:
                yield self._head(piece)

    def _head(self, piece: bytes) -> DataPart | ControlFrame | None:
        """Read a frame's head. Returns the frame if it has no payload."""
        first, second = _HEAD.unpack(piece)
        flags, length = second >> 24, second & MAX_PAYLOAD
        if not first & _CONTROL:
            if first == 0:
                raise RemoteProtocolError("a data frame for stream 0")
            if length == 0:
                return DataPart(first, b"", bool(flags & FLAG_FIN))
            self._data_stream, self._data_left = first, length
            self._data_fin = bool(flags & FLAG_FIN)
            return None
        version, number = (first >> 16) & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise RemoteProtocolError(f"a control frame of SPDY version {version}")
        try:
            kind = FrameType(number)
        except ValueError:
            # Unknown types must be ignored (2.2.1).
            self._skip = length
            self.unknown_frames += 1
            return None
        shortest = _SHORTEST[kind]
        if length < shortest or (kind in _FIXED and length != shortest):
            raise RemoteProtocolError(f"a {kind.name} frame of {length} bytes")
        if length > self._max_control_bytes:
            raise RemoteProtocolError(
                f"a {kind.name} frame of {length} bytes; the limit is {self._max_control_bytes}"
            )
        self._control, self._need = (kind, flags), length
        return None


def _frame(kind: FrameType, payload: bytes, flags: int = 0) -> bytes:
    return _HEAD.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


def data_head(stream_id: int, length: int, fin: bool) -> bytes:
    """The 8 bytes before a data frame's payload of ``length`` bytes."""
    return _HEAD.pack(stream_id, (FLAG_FIN << 24 if fin else 0) | length)


def syn_stream(stream_id: int, block: bytes, flags: int) -> bytes:
    """SYN_STREAM with a compressed header block, no associated stream, highest priority."""
    return _frame(FrameType.SYN_STREAM, _HEAD.pack(stream_id, 0) + b"\0\0" + block, flags)


def syn_reply(stream_id: int, block: bytes) -> bytes:
    """SYN_REPLY with a compressed header block."""
    return _frame(FrameType.SYN_REPLY, _WORD.pack(stream_id) + block)


def headers(stream_id: int, block: bytes, fin: bool) -> bytes:
    """HEADERS with a compressed header block."""
    return _frame(FrameType.HEADERS, _WORD.pack(stream_id) + block, FLAG_FIN if fin else 0)


def rst_stream(stream_id: int, code: ResetCode) -> bytes:
    """RST_STREAM."""
    return _frame(FrameType.RST_STREAM, _HEAD.pack(stream_id, code))


def settings(initial_window: int) -> bytes:
    """SETTINGS with SETTINGS_INITIAL_WINDOW_SIZE, in bytes, alone."""
    return _frame(
        FrameType.SETTINGS, _WORD.pack(1) + _HEAD.pack(SETTINGS_INITIAL_WINDOW_SIZE, initial_window)
    )


def ping(ping_id: int) -> bytes:
    """PING, as a question or an answer."""
    return _frame(FrameType.PING, _WORD.pack(ping_id))


def goaway(last_stream_id: int, status: GoAwayStatus) -> bytes:
    """GOAWAY; ``last_stream_id`` is the last of the peer's streams that was taken."""
    return _frame(FrameType.GOAWAY, _HEAD.pack(last_stream_id, status))


def window_update(stream_id: int, delta: int) -> bytes:
    """WINDOW_UPDATE by ``delta`` bytes; stream 0 is the session."""
    return _frame(FrameType.WINDOW_UPDATE, _HEAD.pack(stream_id, delta))


def parse_settings(payload: bytes) -> dict[int, int]:
    """A SETTINGS payload as ``{id: value}``.

    Raises:
        RemoteProtocolError: its length does not fit its number of entries.
    """
    count = int(_WORD.unpack_from(payload)[0])
    if len(payload) != 4 + 8 * count:
        raise RemoteProtocolError(f"a SETTINGS frame of {count} entries in {len(payload)} bytes")
    found: dict[int, int] = {}
    for index in range(count):
        key, value = _HEAD.unpack_from(payload, 4 + 8 * index)
        found.setdefault(key & 0xFFFFFF, value)  # the first value for an id counts (2.6.4)
    return found
