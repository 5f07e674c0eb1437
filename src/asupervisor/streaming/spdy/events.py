"""What a peer did, as the connection reports it to its driver."""

from __future__ import annotations

from dataclasses import dataclass

from asupervisor.streaming.spdy.headers import Headers


@dataclass(slots=True)
class StreamOpened:
    """The peer opened a stream; answer with ``reply`` or ``reset``.

    ``fin``: it will send nothing on it. ``unidirectional``: it wants nothing on it, not even a
    reply."""

    stream_id: int
    headers: Headers
    fin: bool
    unidirectional: bool


@dataclass(slots=True)
class HeadersReceived:
    """The peer accepted a stream that this side opened, or sent further headers for it."""

    stream_id: int
    headers: Headers
    fin: bool


@dataclass(slots=True)
class DataReceived:
    """Bytes for a stream; once they are read, say so with ``consume``."""

    stream_id: int
    data: bytes
    fin: bool


@dataclass(slots=True)
class StreamReset:
    """A stream has ended: reset by the peer (``by_peer``), or here for a violation."""

    stream_id: int
    code: int
    by_peer: bool


@dataclass(slots=True)
class WindowOpened:
    """The peer accepts more data; stream 0 means any stream."""

    stream_id: int


@dataclass(slots=True)
class GoAwayReceived:
    """The peer accepts no new streams, and has not seen ours after ``last_stream_id``."""

    last_stream_id: int
    status: int


Event = StreamOpened | HeadersReceived | DataReceived | StreamReset | WindowOpened | GoAwayReceived
