"""A rate from samples of a counter that only grows. Times are those of the monotonic clock, since
the node's own clock may be set.
"""

from __future__ import annotations

import os
import time

MINIMUM_WINDOW_NS = 1_000_000_000
"""Nanoseconds. Over less, ticks and time slices show more than the load does."""

_KEPT = 8


class CpuRate:
    """How many cores a cgroup uses: CPU nanoseconds for each second, over a window of at least a
    second where samples allow.

    Args:
        started_at_ns: when the counter was 0, in nanoseconds of the monotonic clock; the first
            answer of a young container comes from it. 0 when it is not known.
    """

    __slots__ = ("_samples", "_started_at_ns")

    def __init__(self, started_at_ns: int) -> None:
        self._started_at_ns = started_at_ns
        self._samples: tuple[tuple[int, int], ...] = ()

    def sample(self, time_ns: int, cpu_ns: int) -> None:
        """Keep one sample, unless it is closer than half the window to the one before."""
        if self._samples and cpu_ns < self._samples[-1][1]:
            self._samples = ()
        if self._samples and time_ns - self._samples[-1][0] < MINIMUM_WINDOW_NS // 2:
            return
        self._samples = (*self._samples[1 - _KEPT :], (time_ns, cpu_ns))

    def last_sample_ns(self) -> int:
        """When the newest sample was taken, 0 without one."""
        return self._samples[-1][0] if self._samples else 0

    def at(self, time_ns: int, cpu_ns: int) -> int | None:
        """The rate up to a reading, in nanocores; None where there is nothing to compare it with.

        Args:
            time_ns: when it was read.
            cpu_ns: the counter then.
        """
        base: tuple[int, int] | None = None
        for sample in reversed(self._samples):
            if sample[0] < time_ns and sample[1] <= cpu_ns:
                base = sample
                if time_ns - sample[0] >= MINIMUM_WINDOW_NS:
                    break
        if (
            base is None or time_ns - base[0] < MINIMUM_WINDOW_NS
        ) and 0 < self._started_at_ns < time_ns:
            age = time_ns - self._started_at_ns
            # More than every core can have done since then: that was not the start.
            possible = cpu_ns <= age * (os.cpu_count() or 1)
            if possible and (base is None or age < 60 * MINIMUM_WINDOW_NS):
                base = (self._started_at_ns, 0)
        if base is None:
            return None
        return (cpu_ns - base[1]) * 1_000_000_000 // (time_ns - base[0])


def monotonic_ns(unix_ns: int) -> int:
    """What the monotonic clock said at a Unix time, as far as the node's clock tells that now.

    Args:
        unix_ns: nanoseconds; 0 when unknown.

    Returns:
        0 when it is unknown, or cannot have been since the node started.
    """
    if not unix_ns:
        return 0
    return max(0, time.monotonic_ns() - (time.time_ns() - unix_ns))
