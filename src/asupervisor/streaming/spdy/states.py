"""The life of one stream, as a table.

::

    we open: SYN_SENT ──reply──▶ OPEN                peer opens: SYN_RECEIVED ──reply──▶ OPEN
                │ fin                                               │ peer's fin
                ▼                                                   ▼
         SYN_SENT_FIN ──reply──▶ HALF_CLOSED_LOCAL      SYN_RECEIVED_FIN ──reply──▶
         HALF_CLOSED_REMOTE

    OPEN ──our fin──▶ HALF_CLOSED_LOCAL ──peer's fin──▶ CLOSED
    OPEN ──peer's fin──▶ HALF_CLOSED_REMOTE ──our fin──▶ CLOSED
    any ──reset, either way──▶ CLOSED

An action that is not in the table is not allowed: for this side it is a
:class:`LocalProtocolError`; for the peer the answer is an RST_STREAM with the code in
:data:`VIOLATIONS` (SPDY/3.1, 2.3)."""

from __future__ import annotations

from enum import Enum, auto

from asupervisor.streaming.spdy.codes import ResetCode


class State(Enum):
    """The state of a stream."""

    SYN_SENT = auto()
    SYN_SENT_FIN = auto()
    SYN_RECEIVED = auto()
    SYN_RECEIVED_FIN = auto()
    OPEN = auto()
    HALF_CLOSED_LOCAL = auto()
    HALF_CLOSED_REMOTE = auto()
    CLOSED = auto()


class Action(Enum):
    """What one side does to an existing stream; FIN is an action of its own, after the frame that
    carries it.
    """

    SEND_REPLY = auto()
    SEND_DATA = auto()
    SEND_FIN = auto()
    RECEIVE_REPLY = auto()
    RECEIVE_DATA = auto()
    RECEIVE_FIN = auto()


_S, _A = State, Action

TRANSITIONS: dict[tuple[State, Action], State] = {
    (_S.SYN_SENT, _A.SEND_DATA): _S.SYN_SENT,
    (_S.SYN_SENT, _A.SEND_FIN): _S.SYN_SENT_FIN,
    (_S.SYN_SENT, _A.RECEIVE_REPLY): _S.OPEN,
    (_S.SYN_SENT_FIN, _A.RECEIVE_REPLY): _S.HALF_CLOSED_LOCAL,
    (_S.SYN_RECEIVED, _A.SEND_REPLY): _S.OPEN,
    (_S.SYN_RECEIVED, _A.RECEIVE_DATA): _S.SYN_RECEIVED,
    (_S.SYN_RECEIVED, _A.RECEIVE_FIN): _S.SYN_RECEIVED_FIN,
    (_S.SYN_RECEIVED_FIN, _A.SEND_REPLY): _S.HALF_CLOSED_REMOTE,
    (_S.OPEN, _A.SEND_DATA): _S.OPEN,
    (_S.OPEN, _A.SEND_FIN): _S.HALF_CLOSED_LOCAL,
    (_S.OPEN, _A.RECEIVE_DATA): _S.OPEN,
    (_S.OPEN, _A.RECEIVE_FIN): _S.HALF_CLOSED_REMOTE,
    (_S.HALF_CLOSED_LOCAL, _A.RECEIVE_DATA): _S.HALF_CLOSED_LOCAL,
    (_S.HALF_CLOSED_LOCAL, _A.RECEIVE_FIN): _S.CLOSED,
    (_S.HALF_CLOSED_REMOTE, _A.SEND_DATA): _S.HALF_CLOSED_REMOTE,
    (_S.HALF_CLOSED_REMOTE, _A.SEND_FIN): _S.CLOSED,
}

VIOLATIONS: dict[tuple[State, Action], ResetCode] = {
    (_S.SYN_SENT, _A.RECEIVE_DATA): ResetCode.PROTOCOL_ERROR,
    (_S.SYN_SENT, _A.RECEIVE_FIN): ResetCode.PROTOCOL_ERROR,
    (_S.SYN_SENT_FIN, _A.RECEIVE_DATA): ResetCode.PROTOCOL_ERROR,
    (_S.SYN_SENT_FIN, _A.RECEIVE_FIN): ResetCode.PROTOCOL_ERROR,
    (_S.SYN_RECEIVED, _A.RECEIVE_REPLY): ResetCode.PROTOCOL_ERROR,
    (_S.SYN_RECEIVED_FIN, _A.RECEIVE_REPLY): ResetCode.PROTOCOL_ERROR,
    (_S.SYN_RECEIVED_FIN, _A.RECEIVE_DATA): ResetCode.STREAM_ALREADY_CLOSED,
    (_S.SYN_RECEIVED_FIN, _A.RECEIVE_FIN): ResetCode.STREAM_ALREADY_CLOSED,
    (_S.OPEN, _A.RECEIVE_REPLY): ResetCode.STREAM_IN_USE,
    (_S.HALF_CLOSED_LOCAL, _A.RECEIVE_REPLY): ResetCode.STREAM_IN_USE,
    (_S.HALF_CLOSED_REMOTE, _A.RECEIVE_REPLY): ResetCode.STREAM_IN_USE,
    (_S.HALF_CLOSED_REMOTE, _A.RECEIVE_DATA): ResetCode.STREAM_ALREADY_CLOSED,
    (_S.HALF_CLOSED_REMOTE, _A.RECEIVE_FIN): ResetCode.STREAM_ALREADY_CLOSED,
}
