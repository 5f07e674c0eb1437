"""SPDY/3.1 as a state machine without I/O: bytes in, events out; calls in, bytes out.

Source: "SPDY Protocol - Draft 3.1" (The Chromium Projects). What Kubernetes streaming does not
use (server push, credentials) is missing here too: a peer that tries it gets the protocol's own
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
