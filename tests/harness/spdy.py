"""Bytes for SPDY's state machine, all at once and not step by step."""

from __future__ import annotations

from asupervisor.streaming import spdy
from asupervisor.streaming.spdy import frames


def receive(connection: spdy.Connection, data: bytes) -> list[spdy.Event]:
    """All that some bytes of the peer's mean to a connection."""
    connection.feed(data)
    events: list[spdy.Event] = []
    while connection.pending:
        events += connection.step()
    return events


def parse(parser: frames.FrameParser, data: bytes) -> list[frames.DataPart | frames.ControlFrame]:
    """The frames, and parts of them, that some bytes complete."""
    return [frame for frame in parser.steps(data) if frame is not None]
