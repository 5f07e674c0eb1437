"""Limits of what a peer can make a connection keep, and the errors of the protocol."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WINDOW = 64 * 1024
"""Bytes of every send window, the session's too, before SETTINGS or WINDOW_UPDATE say otherwise
(SPDY/3.1, 2.6.8).
"""

MAX_WINDOW = 0x7FFFFFFF
"""Bytes: the largest window in the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of everything that a peer can make this side keep.

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
    """The peer broke the protocol, and not only for one stream; a GOAWAY waits to be sent, then the
    connection ends.
    """


class LocalProtocolError(Exception):
    """This side may not send that in the state of the stream or its window; nothing was sent."""
