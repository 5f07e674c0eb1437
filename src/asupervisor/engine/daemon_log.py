"""What a ``dockerd`` of the service's own writes, in the service's log."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterable, AsyncIterator

_logger = logging.getLogger("asupervisor.engine.dockerd")

_LONGEST_LINE_BYTES = 16384
_LOGFMT = re.compile(
    r'time="[^"]*" level=(?P<level>\w+) msg=(?P<msg>"(?:[^"\\]|\\.)*"|\S*) ?(?P<fields>.*)', re.S
)
_LEVELS = {
    # How dockerd does its work is its own business, until it does not.
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.DEBUG,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
_CHATTER = (
    "containerd config version `1` has been deprecated",
    "failed to load plugin io.containerd.snapshotter.v1.devmapper",
    "could not use snapshotter devmapper",
    "cleaning up after shim disconnected",
    "cleanup warnings",
)
"""What containerd warns of at every start, about the configuration that dockerd gave it, and at
every end of a container. One that is worded otherwise some day is a line more, no harm."""
_ANSWERED = (
    "Handler for ",
    "Error getting v2 registry",
    "Not continuing with pull after error",
    "Attempting next endpoint for pull",
)
"""What dockerd has answered to the service, which tells it with the call that it concerns."""


async def log_output(stream: AsyncIterable[bytes]) -> None:
    """Log what a ``dockerd`` writes until its end: each line at its level and without its time,
    what it tells of its ordinary work at debug; of a line that is too long, the beginning.
    """
    async for line in _lines(stream):
        level, message = read_line(line.decode(errors="replace"))
        if message:
            _logger.log(level, "dockerd: %s", message)


async def _lines(stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    rest, skipping = b"", False
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not skipping:
                yield line[:_LONGEST_LINE_BYTES]
            skipping = False
        if len(rest) > _LONGEST_LINE_BYTES:
            if not skipping:
                yield rest[:_LONGEST_LINE_BYTES]
            rest, skipping = b"", True
    if rest and not skipping:
        yield rest


def read_line(line: str) -> tuple[int, str]:
    """The level and the message of a line of dockerd's.

    Args:
        line: logfmt, as dockerd writes it. Anything else is a warning, since then it is a panic or
            a library's complaint.

    Returns:
        A level of :mod:`logging`, and the message with its other fields in parentheses; empty for
        an empty line.
    """
    found = _LOGFMT.fullmatch(line.strip())
    if found is None:
        return logging.WARNING, line.strip()
    message, fields = found["msg"], found["fields"]
    if message.startswith('"'):
        try:
            message = str(json.loads(message))
        except ValueError:  # an escape of Go's that JSON does not know
            message = message[1:-1]
    level = _LEVELS.get(found["level"], logging.WARNING)
    if message.startswith(_ANSWERED) or (level == logging.WARNING and message.startswith(_CHATTER)):
        level = logging.DEBUG
    return level, f"{message} ({fields})" if fields else message
