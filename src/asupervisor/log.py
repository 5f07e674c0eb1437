"""Log lines, as text or JSON, one for each event that an operator acts on.

A line names the RPC that it belongs to and how long that has taken so far. Who logs need not say
it: the RPC boundary says it once, and every task that it starts for the call inherits it. Further
fields come with ``extra=``."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextvars import ContextVar

import orjson

from asupervisor.words import json_safe, one_line

_FIELDS = ("rpc", "pod", "sandbox", "container", "image", "code", "subject", "duration_s")
_LONGEST = 16 * 1024
"""Characters of a message, a field, a traceback that are written to the log."""
_ID = re.compile(r"(?<![0-9a-f:])([0-9a-f]{12})[0-9a-f]{52}(?![0-9a-f])")
"""An id of a sandbox or a container; that of an image has its digest's kind before it."""
_call: ContextVar[tuple[str, float] | None] = ContextVar("asupervisor_call", default=None)


def enter_call(rpc: str, started: float) -> None:
    """Lines of this task, and of tasks that it starts, belong to a call from now on.

    Args:
        rpc: the method's name.
        started: when it began, by the monotonic clock in seconds.
    """
    _call.set((rpc, started))


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z INFO message key=value``; an id has 12 digits and comes once."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback only for a defect."""
        message, fields = _ID.sub(r"\1", one_line(_cut(record.getMessage()))), ""
        for name, value in _fields(record).items():
            whole = _short(value)
            brief = _ID.sub(r"\1", whole)
            if brief == whole or brief not in message + fields:
                fields += f" {name}={brief}"
        line = f"{_time(record)} {record.levelname} {message}{fields}"
        if not record.exc_info:
            return line
        # The words of an error may hold line breaks: none of its lines looks like one of the log.
        trace = _cut(self.formatException(record.exc_info)).split("\n")
        return "\n".join((line, *(f"  {one_line(one)}" for one in trace)))


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """``time``, ``level``, ``logger``, ``message`` and the fields of the event."""
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        entry.update(_fields(record))
        if record.exc_info:
            entry["exception"] = _cut(self.formatException(record.exc_info))
        try:
            return json_safe(orjson.dumps(entry).decode())
        except TypeError:  # a lone half of a UTF-16 pair, which orjson does not take
            return json_safe(json.dumps(entry, ensure_ascii=False))


def configure_logging(level: str, log_format: str) -> None:
    """Write the log of the whole process to standard error: the service's from ``level`` on,
    warnings of the libraries it uses.

    Only the command line calls this: an embedding program decides itself where its log goes.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("asupervisor").setLevel(level.upper())
    logging.captureWarnings(True)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = {
        name: value if isinstance(value, int | float) else _cut(str(value))
        for name in _FIELDS
        if (value := getattr(record, name, None)) not in (None, "")
    }
    call = _call.get()
    if call is None or found.get("rpc", call[0]) != call[0]:
        return found
    return {
        "rpc": call[0],
        **found,
        "duration_s": found.get("duration_s", round(time.monotonic() - call[1], 6)),
    }


def _time(record: logging.LogRecord) -> str:
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        + f".{int(record.msecs):03d}Z"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _short(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else one_line(str(value))
    if any(mark in text for mark in ' "='):  # or a part of it could look like another field
        return '"' + text.replace('"', '\\"') + '"'
    return text
