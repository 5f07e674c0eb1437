"""Lanes to the engine: each kind of waiting has its own bounded number of connections, so that none
can take the others' place.

Pings and events must get through whatever else is under way; a call that may wait for a container's
grace or a registry must not keep the short ones from their turn."""

from __future__ import annotations

from enum import Enum


class Lane(Enum):
    """A lane, and how many requests it has at once."""

    PROBE = 4
    """What tells whether the engine is there."""
    EVENTS = 2
    """The event stream, and the one that follows a broken one."""
    READ = 128
    """What the node state asks for."""
    CHANGE = 256
    """What answers as soon as the engine has done it. What is more waits within its deadline."""
    LONG = 1024
    """What waits for a container, a registry or a disk. What is more is refused: a place may not
    come free for hours.
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
        reading: whether the node state asks, which it does while the engine is held to be down too.
    """
    return _LANES.get(operation, Lane.READ if reading else Lane.CHANGE)
