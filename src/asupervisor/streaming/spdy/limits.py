"""What a peer may make a connection grow to, and the two ways to break the protocol."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WINDOW = 64 * 1024
"""Bytes of every send window, the session's too, before SETTINGS or WINDOW_UPDATE say otherwise
(SPDY/3.1, 2.6.8).
"""

MAX_WINDOW = 0x7FFFFFFF
"""Bytes: the largest window that the protocol can speak of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything that a peer can make this side keep.

    Args:
        streams: streams that the peer may have open at once; one more is refused.
        control_frame_bytes: payload of one control frame, compressed.
        header_bytes: one header block, uncompressed.
        headers: name/value pairs in one block.
        stream_window: bytes that a peer may send on a stream before this side has read any.
        session_window: the same over all the streams of the connection.
    """

    streams: int = 1024
    control_frame_bytes: int = 32 * 1024
    header_bytes: int = 32 * 1024
    headers: int = 64
    stream_window: int = 128 * 1024
    session_window: int = 2 * 1024 * 1024


class RemoteProtocolError(Exception):
    """The peer broke the protocol beyond one stream; a GOAWAY that says so waits to be sent, then
    the connection ends.
    """


class LocalProtocolError(Exception):
    """The state of the stream or its window does not allow it; nothing was sent."""
