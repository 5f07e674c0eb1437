"""Gives free memory back to the system after a time of much work."""

from __future__ import annotations

import contextlib
import ctypes
import os

WORTH_BYTES = 8 << 20
"""Least growth for which it is worth the time."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Heap:
    """The C heap: it keeps free pages that lie between pages in use."""

    def __init__(self) -> None:
        self._kept = _resident_bytes()

    @property
    def has_grown(self) -> bool:
        """Whether the process is larger by :data:`WORTH_BYTES` than it was at first, or after the
        last time that memory was given back.
        """
        return _resident_bytes() > self._kept + WORTH_BYTES

    def give_back(self) -> None:
        """Return free pages to the system.

        It takes milliseconds, without the interpreter's lock: call it from a thread. With a C
        library other than glibc nothing happens."""
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self._kept = _resident_bytes()


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
