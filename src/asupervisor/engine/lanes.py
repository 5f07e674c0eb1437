"""Lanes to the engine: each kind of request has its own bounded number of connections, so that no
kind can use up the connections of another.

Pings and events must get through whatever else is under way; calls that may wait for a container's
grace period or for a registry must not delay the short ones."""

from __future__ import annotations

from enum import Enum


class Lane(Enum):
    """A lane, and how many requests it has at once."""

    PROBE = 4
    """Requests that show whether the engine is there."""
    EVENTS = 2
    """The event stream, and the one that follows a broken one."""
    READ = 128
    """Requests of the node state."""
    CHANGE = 256
    """Calls that the engine answers when it has done them. Calls above the number wait, within
    their deadline.
    """
    LONG = 1024
    """Calls that wait for a container, a registry or a disk. Calls above the number are refused: it
    may take hours until a connection is free.
    """


_LANES = {
    "ping": Lane.PROBE,
    "version": Lane.PROBE,
    "info": Lane.PROBE,
    "events": Lane.EVENTS,
    "stop_container": Lane.LONG,
    "start_exec": Lane.LONG,
    "pull_image": Lane.LONG,
    "load_image": Lane.LONG,
    "read_file": Lane.LONG,
    "disk_usage": Lane.LONG,
    "create_checkpoint": Lane.LONG,
}


def lane_of(operation: str, reading: bool) -> Lane:
    """The lane of a request.

    Args:
        operation: as it is called in errors and metrics.
        reading: whether the node state asks, which it also does while the engine counts as down.
    """
    return _LANES.get(operation, Lane.READ if reading else Lane.CHANGE)
