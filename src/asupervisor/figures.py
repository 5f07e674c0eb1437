"""Numbers that the event loop's thread changes and a scrape reads; nothing here takes a lock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

ENGINE_BOUNDS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 120.0),
)
"""Upper bounds, in seconds, of the engine's latency buckets; they contain dockershim's."""

RPC_BOUNDS_S = (0.0001, 0.00025, 0.0005, *ENGINE_BOUNDS_S)
"""Upper bounds, in seconds, of the RPC latency buckets: from an answer out of memory to a pull."""


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        """Add ``amount``, which is not negative."""
        self.value += amount


class Gauge:
    """A number that goes up and down, set by its owner or read from it at each scrape."""

    __slots__ = ("_read", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._read: Callable[[], float] | None = None

    def add(self, amount: float = 1) -> None:
        """Change it by ``amount``."""
        self.value += amount

    def set(self, value: float) -> None:
        """Make it ``value``."""
        self.value = value

    def follow(self, read: Callable[[], float]) -> None:
        """Ask ``read`` at each scrape from now on, on the event loop; it must be quick."""
        self._read = read

    def current(self) -> float:
        """The value now."""
        return self.value if self._read is None else self._read()


class Histogram:
    """Durations counted by bucket.

    Args:
        bounds_s: the buckets' upper bounds in seconds, rising; one more bucket takes what is
            longer.
    """

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a bound belongs to the bucket below it, as Prometheus has it."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative ``(upper bound, count)`` pairs, the last one ``+Inf``."""
        total, pairs = 0, []
        for bound, count in zip((*map(repr, self.bounds_s), "+Inf"), self.counts, strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs


class RpcFigures:
    """What one RPC method did: call :meth:`begin` and :meth:`end` for each call."""

    __slots__ = ("codes", "in_flight", "latency")

    def __init__(self) -> None:
        self.in_flight = 0
        self.codes: dict[str, int] = {"OK": 0}
        self.latency = Histogram(RPC_BOUNDS_S)

    def begin(self) -> None:
        """A call came in."""
        self.in_flight += 1

    def end(self, seconds: float, code: str = "OK") -> None:
        """The call is answered.

        Args:
            seconds: how long it took; for a stream, until its end.
            code: the gRPC status name that the client was given (``OK``, ``NOT_FOUND`` …).
        """
        self.in_flight -= 1
        self.codes[code] = self.codes.get(code, 0) + 1
        self.latency.observe(seconds)


class EngineFigures:
    """What one engine operation did since the start, counted as dockershim counted it."""

    __slots__ = ("errors", "latency", "timeouts", "total")

    def __init__(self) -> None:
        self.total = 0
        self.errors = 0
        self.timeouts = 0
        self.latency = Histogram(ENGINE_BOUNDS_S)

    def end(self, seconds: float, *, failed: bool = False, timed_out: bool = False) -> None:
        """One operation is over.

        Args:
            seconds: how long it took.
            failed: the engine refused, or could not be reached.
            timed_out: its deadline passed; such an operation counts as an error too.
        """
        self.total += 1
        self.errors += failed or timed_out
        self.timeouts += timed_out
        self.latency.observe(seconds)
