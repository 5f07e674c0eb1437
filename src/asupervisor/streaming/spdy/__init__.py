"""SPDY/3.1 as a state machine without I/O: bytes in, events out; calls in, bytes out.

Source: "SPDY Protocol - Draft 3.1" (The Chromium Projects). What Kubernetes streaming leaves out
(server push, credentials) is left out here too: a peer that tries is answered by the protocol's own
error."""

from asupervisor.streaming.spdy.codes import GoAwayStatus, ResetCode
from asupervisor.streaming.spdy.connection import Connection
from asupervisor.streaming.spdy.events import (
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from asupervisor.streaming.spdy.limits import Limits, LocalProtocolError, RemoteProtocolError
from asupervisor.streaming.spdy.streams import Role

__all__ = [
    "Connection",
    "DataReceived",
    "Event",
    "GoAwayReceived",
    "GoAwayStatus",
    "HeadersReceived",
    "Limits",
    "LocalProtocolError",
    "RemoteProtocolError",
    "ResetCode",
    "Role",
    "StreamOpened",
    "StreamReset",
    "WindowOpened",
]
