"""CRI's Signal enum and the engine's StopSignal names."""

from __future__ import annotations

import signal

from asupervisor.proto import cri


def engine_signal(value: int) -> str:
    """The engine's name of a CRI signal (``SIGTERM``, ``SIGRTMIN+3``); empty for the runtime's
    default.
    """
    if value == cri.SIGNAL_RUNTIME_DEFAULT:
        return ""
    return (
        cri.Signal.Name(value)
        .removeprefix("SIGNAL_")
        .replace("MINPLUS", "MIN+")
        .replace("MAXMINUS", "MAX-")
    )


def cri_signal(name: str) -> int:
    """The CRI signal of an engine's name or number; SIGTERM, the engine's default, where the name
    is empty or unknown.
    """
    text = name.upper()
    if text.isdigit():
        try:
            text = signal.Signals(int(text)).name
        except ValueError:
            return cri.SIGNAL_SIGTERM
    text = text if text.startswith("SIG") else f"SIG{text}"
    key = "SIGNAL_" + text.replace("MIN+", "MINPLUS").replace("MAX-", "MAXMINUS")
    try:
        return cri.Signal.Value(key) if name else cri.SIGNAL_SIGTERM
    except ValueError:
        return cri.SIGNAL_SIGTERM
