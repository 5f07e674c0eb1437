"""Limits and times of the streaming service, most of which are not flags."""

from __future__ import annotations

from dataclasses import dataclass, field

from asupervisor.streaming import spdy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The limits of one service.

    Args:
        sessions: connections at once with a valid URL; one more gets the answer 503.
        waiting: connections at once that have not sent a valid URL yet; for one more the oldest is
            closed.
        waiting_per_peer: the same for one address.
        head_timeout_s: seconds for TLS and a request's head to come in.
        creation_timeout_s: seconds for a session's streams to be opened.
        idle_timeout_s: seconds without a data byte until a session is closed; 0: it never is.
        kill_timeout_s: seconds for the runtime to end a command whose client is gone.
        farewell_timeout_s: seconds for a peer to read the last bytes and to close.
        forwards: port-forward connections at once in one session.
        buffer_bytes: bytes that may wait in one channel of a WebSocket session, and in all of them.
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
