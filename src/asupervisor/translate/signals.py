"""CRI's Signal enum and the engine's StopSignal, a name or a number.

Numbers are Linux': real-time signals from 34 (RTMIN, as the C library leaves it) to 64 (RTMAX)."""

from __future__ import annotations

import re
import signal
from functools import lru_cache

from asupervisor.proto import cri

_RTMIN, _RTMAX = 34, 64
_FROM_MIN = 15
"""Up to this many above RTMIN a signal is named after RTMIN; the others after RTMAX."""
_REALTIME = re.compile(r"RT(?:MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)$", re.ASCII)


def engine_signal(value: int) -> str:
    """The engine's name of a CRI signal (``SIGTERM``); empty for the runtime's default."""
    if value == cri.SIGNAL_RUNTIME_DEFAULT:
        return ""
    return (
        cri.Signal.Name(value)
        .removeprefix("SIGNAL_")
        .replace("MINPLUS", "MIN+")
        .replace("MAXMINUS", "MAX-")
    )


@lru_cache(maxsize=64)
def cri_signal(text: str) -> int:
    """The CRI signal of an engine's name or number; SIGTERM, the engine's default, where the text
    is empty or is not a signal.
    """
    name = text.upper().removeprefix("SIG")
    number = int(name) if re.fullmatch(r"\d{1,3}", name, re.ASCII) else _realtime(name)
    if number is None:
        key = f"SIGNAL_SIG{name}"
    elif _RTMIN <= number <= _RTMAX:
        above, below = number - _RTMIN, _RTMAX - number
        end = f"MINPLUS{above}" if above <= _FROM_MIN else f"MAXMINUS{below}"
        key = {0: "SIGNAL_SIGRTMIN", _RTMAX - _RTMIN: "SIGNAL_SIGRTMAX"}.get(
            above, f"SIGNAL_SIGRT{end}"
        )
    else:
        key = {entry.value: f"SIGNAL_{entry.name}" for entry in signal.Signals}.get(number, "")
    try:
        return cri.Signal.Value(key)
    except ValueError:
        return cri.SIGNAL_SIGTERM


def _realtime(name: str) -> int | None:
    """The number of ``RTMIN``, ``RTMIN+n``, ``RTMAX`` or ``RTMAX-n``."""
    found = _REALTIME.match(name)
    if found is None:
        return None
    below = name.startswith("RTMAX")
    distance = int(found[1] or found[2] or 0)
    return _RTMAX - distance if below else _RTMIN + distance
