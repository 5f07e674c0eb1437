"""How much of a container's log the engine keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_SIZE = "16m"
"""Size of one of the engine's log files, in the engine's notation: 16 MiB."""
MAX_FILE = "4"
"""Number of its log files. So a container may write 48 to 64 MiB while its log is not read, during
an upgrade of this service.
"""


def engine_log_config(default: Mapping[str, Any], log_format: str) -> dict[str, Any] | None:
    """``HostConfig.LogConfig`` of a new container.

    The engine's log is a buffer once its lines are in a CRI log file, so it is bounded, unless the
    operator has bounded it in the engine's configuration or chose another driver there. Under the
    ``docker`` format it is the log itself, and is left as it is.

    Args:
        default: what the engine gives a container that asks for nothing, as the sandbox's inspect
            document shows it: ``Type`` and ``Config``. The engine merges its ``log-opts`` into
            whatever is asked for.
        log_format: ``cri`` or ``docker``.

    Returns:
        None to ask for nothing.
    """
    if (
        log_format != "cri"
        or default.get("Type") != "json-file"
        or "max-size" in (default.get("Config") or {})
    ):
        return None
    options = {"max-size": MAX_SIZE}
    if "max-file" not in (default.get("Config") or {}):
        options["max-file"] = MAX_FILE
    return {"Type": "json-file", "Config": options}
