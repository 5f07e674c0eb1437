"""The numbers of SPDY/3.1: frame types, flags, status codes, settings."""

from __future__ import annotations

from enum import IntEnum

VERSION = 3

FLAG_FIN = 0x01
FLAG_UNIDIRECTIONAL = 0x02

SETTINGS_INITIAL_WINDOW_SIZE = 7
"""The only setting that is used here; the others are hints that a peer may ignore."""


class FrameType(IntEnum):
    """Control frames (SPDY/3.1, 2.6); 5 was NOOP and 10 CREDENTIAL in other drafts."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetCode(IntEnum):
    """Why a stream ends at once (SPDY/3.1, 2.4.2). Zero is not allowed on the wire."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    """Why a connection ends (SPDY/3.1, 2.6.6)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
