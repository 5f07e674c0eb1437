"""What the pump asks of the kernel and the allocator for its own process."""

from __future__ import annotations

import contextlib
import ctypes
import resource

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


def allow_descriptors() -> None:
    """Each log takes three; the usual soft limit of 1024 is one for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_memory() -> None:
    """Let the allocator keep what a turn frees for the next one: to fault it in again would take a
    third of the time.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, _KEPT_BYTES)
