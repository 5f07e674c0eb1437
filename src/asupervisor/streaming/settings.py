"""Bounds and times of the streaming service that are not flags."""

from __future__ import annotations

from dataclasses import dataclass, field

from asupervisor.streaming import spdy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one service allows.

    Args:
        sessions: connections at once that came with a valid URL; one more is answered 503.
        waiting: connections at once that have not shown one (yet); at one more the oldest gives
            way.
        waiting_per_peer: the same of one address.
        head_timeout_s: seconds for TLS and a request's head to come in.
        creation_timeout_s: seconds for a session's streams to be opened.
        idle_timeout_s: seconds without a data byte until a session is closed; 0: it never is.
        kill_timeout_s: seconds for the runtime to end a command whose client is gone.
        farewell_timeout_s: seconds for a peer to take the last bytes and to close after them.
        forwards: port-forward connections at once in one session.
        buffer_bytes: bytes of one channel of a WebSocket session, and of all, that wait to be read.
        spdy: bounds of a SPDY connection.
    """

    sessions: int = 1024
    waiting: int = 512
    waiting_per_peer: int = 256
    head_timeout_s: float = 5.0
    creation_timeout_s: float = 30.0
    idle_timeout_s: float = 4 * 3600.0
    kill_timeout_s: float = 10.0
    farewell_timeout_s: float = 2.0
    forwards: int = 512
    buffer_bytes: int = 128 * 1024
    spdy: spdy.Limits = field(default_factory=spdy.Limits)
