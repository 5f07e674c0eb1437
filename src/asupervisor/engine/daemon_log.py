"""Puts what a managed ``dockerd`` writes into the service's log."""

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
    # dockerd's ordinary work is not for the readers of this service's log.
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
"""Beginnings of warnings that containerd writes at every start and at every end of a container. If
a later version changes the text of one, the log only gets one more line.
"""
_ANSWERED = (
    "Handler for ",
    "Error getting v2 registry",
    "Not continuing with pull after error",
    "Attempting next endpoint for pull",
)
"""Beginnings of errors that dockerd has answered to the service too, which reports them with the
call.
"""


async def log_output(stream: AsyncIterable[bytes]) -> None:
    """Log what a ``dockerd`` writes until its end: each line at its level and without its time,
    info lines at debug level; of a line that is too long, the beginning.
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
        line: logfmt, as dockerd writes it. Anything else counts as a warning: it comes from a panic
            or from a library.

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
