"""Go's duration notation (``2m0s``, ``500ms``), which kubelet's flags use."""

from __future__ import annotations

import re

from asupervisor.errors import ConfigError

_UNIT_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_LONGEST_S = float((1 << 63) - 1) / 1e9  # what Go's time.Duration holds
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str, name: str = "duration") -> float:
    """Read a Go duration.

    Args:
        text: such as ``2m0s``; ``0`` needs no unit; a negative one is refused.
        name: the setting it belongs to, for the error.

    Returns:
        Seconds.

    Raises:
        ConfigError: the text is not a duration; it names the setting and the text.
    """
    text = text.strip()
    if text == "0":
        return 0.0
    position, total = 0, 0.0
    for part in _PART.finditer(text):
        if part.start() != position:
            break
        total += float(part.group(1)) * _UNIT_S[part.group(2)]
        position = part.end()
    if position != len(text) or not text or total > _LONGEST_S:
        raise ConfigError(
            f'{name}: "{text}" is not a duration; write it like "2m0s", "500ms" or "1h30m"'
        )
    return total


def format_duration(seconds: float) -> str:
    """Write seconds as Go prints a duration: ``2m0s``, ``1.5s``, ``250ms``, ``0s``."""
    if seconds == 0:
        return "0s"
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:g}s"
    if hours or minutes:
        text = f"{minutes:g}m{text}"
    if hours:
        text = f"{hours:g}h{text}"
    return text
