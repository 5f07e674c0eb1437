"""Log lines, as text or JSON, one for each event that an operator acts on."""

from __future__ import annotations

import logging
import sys
import time

import orjson

_FIELDS = ("rpc", "pod", "sandbox", "container", "image", "code", "subject", "duration_s")


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z INFO message key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback only for a defect."""
        fields = "".join(f" {name}={_short(value)}" for name in _FIELDS if (value := getattr(record, name, None)) not in (None, ""))
        line = f"{_time(record)} {record.levelname} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """``time``, ``level``, ``logger``, ``message`` and the fields of the event."""
        entry = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        entry.update({name: value for name in _FIELDS if (value := getattr(record, name, None)) not in (None, "")})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


def configure_logging(level: str, log_format: str) -> None:
    """Write the service's log to standard error.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger("asupervisor")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
    logging.captureWarnings(True)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
