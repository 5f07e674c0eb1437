"""Giving memory back after a rush of sessions."""

from __future__ import annotations

import contextlib
import ctypes

RUSH = 16
"""Sessions at once from which on it is worth the time."""


def give_back() -> None:
    """Return the free pages of the C heap to the system. The buffers of a rush are freed but lie between others, so the heap keeps them.

    It takes milliseconds, without the interpreter's lock: call it from a thread. Only glibc has it; elsewhere nothing happens.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
