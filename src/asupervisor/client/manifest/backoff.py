"""The pauses before a container is started again."""

from __future__ import annotations

FIRST_S = 10.0
LONGEST_S = 300.0


class Backoff:
    """As kubelet has them: none the first time, then 10 s, each twice as long as the one before up
    to 300 s; after twice that without a restart from the beginning.
    """

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._last_s = 0.0

    def next(self, now_s: float) -> float:
        """Seconds to wait now, at a time of a monotonic clock."""
        if now_s - self._last_s > 2 * LONGEST_S:
            self._pause_s = 0.0
        pause_s = self._pause_s
        self._pause_s = min(LONGEST_S, 2 * pause_s or FIRST_S)
        self._last_s = now_s + pause_s
        return pause_s
