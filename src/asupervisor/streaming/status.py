"""The exit status on the error stream (Kubernetes remote command protocol, v1 to v5).

From v4 on it is a ``metav1.Status`` in JSON, also for a success. Before, it is plain text, and
empty for a success."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

STRUCTURED_VERSION = 4
"""The first version with JSON."""

MAX_STATUS_BYTES = 64 * 1024
"""Longest status that a client reads."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a command or an attachment ended.

    Args:
        exit_code: of the process; None if it could not be run or its end is not known.
        message: what failed, where ``exit_code`` is None; empty means that all went well.
    """

    exit_code: int | None = 0
    message: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.exit_code == 0


def encode_status(status: ExitStatus, version: int) -> bytes:
    """What to write to the error stream.

    Args:
        status: how it ended.
        version: of the remote command protocol, 1 to 5.
    """
    if version < STRUCTURED_VERSION:
        return b"" if status.is_success else _text(status).encode()
    document: dict[str, Any] = {
        "metadata": {},
        "status": "Success" if status.is_success else "Failure",
    }
    if status.exit_code is None:
        document |= {
            "message": _text(status),
            "reason": "InternalError",
            "details": {"causes": [{"message": status.message}]},
            "code": 500,
        }
    elif status.exit_code != 0:
        document |= {
            "message": _text(status),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(status.exit_code)}]},
        }
    return json.dumps(document, separators=(",", ":")).encode()


def decode_status(raw: bytes, version: int) -> ExitStatus:
    """Read the whole content of an error stream, of this server or another.

    Args:
        raw: its bytes; empty is a success, but only before v4.
        version: of the remote command protocol, 1 to 5.
    """
    if version < STRUCTURED_VERSION:
        return ExitStatus() if not raw else ExitStatus(None, raw.decode(errors="replace"))
    try:
        document = json.loads(raw)
        if document["status"] == "Success":
            return ExitStatus()
        causes = (document.get("details") or {}).get("causes") or []
        if document.get("reason") == "NonZeroExitCode":
            codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
            return ExitStatus(codes[0])
        return ExitStatus(
            None, str(document.get("message") or document.get("reason") or "the command failed")
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ExitStatus(
            None,
            f"the error stream holds no status: {raw[:200]!r}"
            if raw
            else "the stream ended without a status",
        )


def _text(status: ExitStatus) -> str:
    if status.exit_code is None:
        return f"Internal error occurred: {status.message}"
    return f"command terminated with non-zero exit code: {status.exit_code}"
