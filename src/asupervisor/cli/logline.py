"""One line of a container's log file, in CRI's format or in Docker's json-file format: a log path
may lead to either.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line, or a part of one.

    Args:
        time: RFC 3339 with nanoseconds, as the file has it.
        stream: ``stdout`` or ``stderr``.
        partial: whether the line goes on in the next one.
        content: without a newline.
    """

    time: str
    stream: str
    partial: bool
    content: bytes


def read_line(line: bytes) -> LogLine:
    """Read one line of a file, without its newline; what is in neither format is shown as it is."""
    if line.startswith(b"{"):
        return _docker_line(line)
    parts = line.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return LogLine("", "stdout", False, line)
    # The tags are separated by colons; P or F is the first of them.
    return LogLine(
        parts[0].decode(errors="replace"),
        parts[1].decode(),
        parts[2].split(b":")[0] == b"P",
        parts[3],
    )


def _docker_line(line: bytes) -> LogLine:
    import orjson

    try:
        document = orjson.loads(line)
        content = str(document["log"])
        # One line of output ends with its newline; a piece of a longer one has none.
        partial = not content.endswith("\n")
        return LogLine(
            str(document["time"]),
            str(document["stream"]),
            partial,
            content.removesuffix("\n").encode(),
        )
    except (ValueError, KeyError, TypeError):
        return LogLine("", "stdout", False, line)
