"""What a connection keeps of itself and of each stream."""

from __future__ import annotations

from enum import Enum

from asupervisor.streaming.spdy.states import State


class Role(Enum):
    """Which end: a client's streams and pings are odd, a server's even."""

    CLIENT = 1
    SERVER = 2


class StreamRecord:
    """One stream that is not closed.

    Args:
        state: where it stands.
        send_window: bytes that the peer takes now; negative after it made its windows smaller.
        receive_window: bytes that the peer may send now.

    Attributes:
        read_bytes: bytes that were read since the last WINDOW_UPDATE.
    """

    __slots__ = ("read_bytes", "receive_window", "send_window", "state")

    def __init__(self, state: State, send_window: int, receive_window: int) -> None:
        self.state = state
        self.send_window = send_window
        self.receive_window = receive_window
        self.read_bytes = 0
