"""The streams of one connection: which are open, which side opened them, and their states."""

from __future__ import annotations

from collections.abc import ItemsView
from enum import Enum

from asupervisor.streaming.spdy.codes import ResetCode
from asupervisor.streaming.spdy.limits import LocalProtocolError
from asupervisor.streaming.spdy.states import TRANSITIONS, VIOLATIONS, Action, State


class Role(Enum):
    """Which end: ids of a client's streams and pings are odd, a server's even."""

    CLIENT = 1
    SERVER = 2


class StreamRecord:
    """One stream that is not closed.

    Args:
        state: of the stream.
        send_window: bytes that the peer accepts now; negative after it made its windows smaller.
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


class Streams:
    """The streams that are not closed, by their ids.

    Args:
        role: which end this is.

    Attributes:
        next_own: the id of the next stream that this side opens.
        last_of_peer: the id of the last one that the peer opened.
        of_peer: how many of the peer's streams are not closed.
    """

    def __init__(self, role: Role) -> None:
        self._parity = role.value % 2
        self.next_own = role.value
        self.last_of_peer = 0
        self.of_peer = 0
        self._open: dict[int, StreamRecord] = {}

    def __len__(self) -> int:
        return len(self._open)

    def items(self) -> ItemsView[int, StreamRecord]:
        """Ids and records."""
        return self._open.items()

    def is_own(self, number: int) -> bool:
        """Whether the id of a stream or of a ping is one of this side's."""
        return number % 2 == self._parity

    def was_open(self, stream_id: int) -> bool:
        """Whether a stream of that id was ever open."""
        if self.is_own(stream_id):
            return 0 < stream_id < self.next_own
        return 0 < stream_id <= self.last_of_peer

    def add(self, stream_id: int, record: StreamRecord) -> None:
        """Add a stream that was opened."""
        self._open[stream_id] = record
        self.of_peer += not self.is_own(stream_id)

    def get(self, stream_id: int) -> StreamRecord | None:
        """A stream; None if it is closed."""
        return self._open.get(stream_id)

    def need(self, stream_id: int) -> StreamRecord:
        """A stream that this side wants to use.

        Raises:
            LocalProtocolError: it is closed.
        """
        stream = self._open.get(stream_id)
        if stream is None:
            raise LocalProtocolError(f"stream {stream_id} is closed")
        return stream

    def act(self, stream_id: int, action: Action) -> None:
        """Note an action of this side.

        Raises:
            LocalProtocolError: the stream's state forbids it.
        """
        stream = self.need(stream_id)
        state = TRANSITIONS.get((stream.state, action))
        if state is None:
            raise LocalProtocolError(
                f"{action.name} on stream {stream_id} in state {stream.state.name}"
            )
        self._move(stream_id, stream, state)

    def violation(self, stream_id: int, stream: StreamRecord, action: Action) -> ResetCode | None:
        """Note an action of the peer; if the state forbids it, return the code for the answer."""
        state = TRANSITIONS.get((stream.state, action))
        if state is None:
            return VIOLATIONS[(stream.state, action)]
        self._move(stream_id, stream, state)
        return None

    def close(self, stream_id: int) -> bool:
        """Forget a stream; False if it was closed already."""
        if self._open.pop(stream_id, None) is None:
            return False
        self.of_peer -= not self.is_own(stream_id)
        return True

    def _move(self, stream_id: int, stream: StreamRecord, state: State) -> None:
        stream.state = state
        if state is State.CLOSED:
            self.close(stream_id)
