"""The engine's RFC 3339 times as Unix nanoseconds, 0 where there is none."""

from __future__ import annotations

import calendar
import re

_LAST = 2**63 - 1
"""In the year 2262; the CRI has no later time."""
_TIME = re.compile(
    r"(\d{4})-(0[1-9]|1[0-2])-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)",
    re.ASCII,
)


def unix_nanoseconds(text: str | None) -> int:
    """Nanoseconds since 1970 of a time such as ``2026-01-02T03:04:05.678901234Z``.

    The engine writes the year 1 for "never": that, an empty text and one that is not a time are 0,
    as the CRI requires."""
    match = _TIME.fullmatch(text) if text and text >= "1970" else None
    if match is None:
        return 0
    *date, fraction, zone = match.groups()
    seconds = calendar.timegm(tuple(map(int, date)))
    if zone != "Z":
        sign = 1 if zone[0] == "-" else -1
        seconds += sign * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)
    found = seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    return found if 0 <= found <= _LAST else 0
