"""Every metric of the service, declared once.

A call that answers from memory takes about 100 µs in all, so its figures are plain integers that
only the event loop's thread changes; nothing here takes a lock. They become Prometheus samples when
they are scraped: see :meth:`Metrics.exposition`. Each supervisor owns one :class:`Metrics`, so that
two can live in one process.

Names: the engine's operations keep the names that dockershim gave them (``docker_operations_…``);
everything else is ``asupervisor_…``, apart from the ``process_…`` figures that every Prometheus
client exports."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asupervisor.errors import DeadlineExceeded

if TYPE_CHECKING:
    from prometheus_client import ProcessCollector
    from prometheus_client.core import Metric

ENGINE_BOUNDS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 120.0),
)
"""Upper bounds, in seconds, of the engine's latency buckets; they contain dockershim's own (5 ms to
10 s).
"""

RPC_BOUNDS_S = (0.0001, 0.00025, 0.0005, *ENGINE_BOUNDS_S)
"""Upper bounds, in seconds, of the RPC latency buckets: from an answer out of memory to a pull's.
"""

SCRAPE_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The Content-Type of :meth:`Metrics.exposition`."""


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
        """Ask ``read`` at each scrape from now on; it must be quick and is called on the event
        loop.
        """
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
    """What one RPC method did since the start: call :meth:`begin` and :meth:`end` once for each
    call.
    """

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


class _Collected:
    """Families that were collected before, as a collector."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


class Metrics:
    """The figures of one supervisor. Made without I/O; hand it down and let each owner change its
    own fields.
    """

    def __init__(self) -> None:
        self._rpc: dict[str, RpcFigures] = {}
        self._engine: dict[str, EngineFigures] = {}
        self._process: ProcessCollector | None = None
        self._plain: list[tuple[str, str, Counter | Gauge]] = []
        """What has no labels: name, help, and the figure itself."""
        self.events_applied: dict[str, Counter] = {}
        """Engine events that changed the node's state, by the engine's action (``start``, ``die``
        …)."""
        self.streaming_sessions: dict[str, Gauge] = {}
        """Open streaming sessions by kind: ``exec``, ``attach``, ``portforward``."""
        self.streaming_sessions_total: dict[str, Counter] = {}
        """Streaming sessions opened since the start, by kind."""
        self.resyncs = self._counter("engine_resyncs", "Full listings taken from the engine.")
        """One at the start, one for each gap in the events."""
        self.event_subscribers_dropped = self._counter(
            "event_subscribers_dropped", "GetContainerEvents streams ended for falling behind."
        )
        self.shortened = self._counter(
            "shortened_list_elements",
            "Elements of lists without their long labels and annotations.",
        )
        self.log_bytes = self._counter(
            "log_bytes", "Bytes of container output written to CRI log files."
        )
        self.log_pump_restarts = self._counter(
            "log_pump_restarts", "Restarts of the log pump's process."
        )
        self.writable_layer_walks = self._counter(
            "writable_layer_walks", "Walks over writable layers that ended."
        )
        self.event_lag_s = self._gauge(
            "engine_event_lag_seconds", "Age of the last engine event when it was applied."
        )
        self.event_subscribers = self._gauge(
            "event_subscribers", "Open GetContainerEvents streams."
        )
        self.log_lag_bytes = self._gauge(
            "log_lag_bytes", "Container output that the log pump has not read yet."
        )
        self.containers = self._gauge("containers", "Containers in the node state.")
        self.sandboxes = self._gauge("sandboxes", "Sandboxes in the node state.")
        self.ready = self._gauge("ready", "1 while the node can run pods, else 0.")
        self.tasks = self._gauge("tasks", "Tasks of the event loop.")
        self.loop_lag_s = self._gauge(
            "event_loop_lag_seconds", "How late the event loop last woke from a short sleep."
        )

    def _counter(self, name: str, text: str) -> Counter:
        made = Counter()
        self._plain.append((f"asupervisor_{name}", text, made))
        return made

    def _gauge(self, name: str, text: str) -> Gauge:
        made = Gauge()
        self._plain.append((f"asupervisor_{name}", text, made))
        return made

    def rpc(self, method: str) -> RpcFigures:
        """The figures of one method, by its bare name (``ListContainers``); the same object each
        time, so keep it.
        """
        figures = self._rpc.get(method)
        if figures is None:
            figures = self._rpc[method] = RpcFigures()
        return figures

    def answered(self, method: str) -> int:
        """How many calls of one method were answered with OK."""
        figures = self._rpc.get(method)
        return figures.codes["OK"] if figures else 0

    def calls(self) -> tuple[int, int]:
        """How many calls were answered, and how many of them not with OK."""
        every = [figures.codes for figures in self._rpc.values()]
        total = sum(sum(codes.values()) for codes in every)
        return total, total - sum(codes["OK"] for codes in every)

    def methods(self) -> list[tuple[str, RpcFigures]]:
        """Every method that the server has, by name."""
        return sorted(self._rpc.items())

    def operations(self) -> list[tuple[str, EngineFigures]]:
        """Every engine operation that was done, by name."""
        return sorted(self._engine.items())

    def engine_errors(self) -> int:
        """How many engine operations failed."""
        return sum(figures.errors for figures in self._engine.values())

    def engine(self, operation: str) -> EngineFigures:
        """The figures of one engine operation, by dockershim's name for it (``inspect_container``,
        ``pull_image`` …).
        """
        figures = self._engine.get(operation)
        if figures is None:
            figures = self._engine[operation] = EngineFigures()
        return figures

    def engine_operation(self, operation: str, seconds: float, error: Exception | None) -> None:
        """Count one finished engine request: what the engine session tells its observer."""
        self.engine(operation).end(
            seconds, failed=error is not None, timed_out=isinstance(error, DeadlineExceeded)
        )

    def event_applied(self, action: str, age_s: float = 0.0) -> None:
        """Count one applied engine event.

        Args:
            action: the engine's; its detail (``exec_create: sh -c …``) is cut off, never exported.
            age_s: seconds since the engine made it.
        """
        self.event_lag_s.value = age_s
        action = action.split(":", 1)[0]
        counter = self.events_applied.get(action)
        if counter is None:
            counter = self.events_applied[action] = Counter()
        counter.value += 1

    @contextmanager
    def streaming_session(self, kind: str) -> Iterator[None]:
        """Count one streaming session of ``kind`` (``exec``, ``attach``, ``portforward``) while the
        block lasts.
        """
        gauge = self.streaming_sessions.setdefault(kind, Gauge())
        self.streaming_sessions_total.setdefault(kind, Counter()).add()
        gauge.add()
        try:
            yield
        finally:
            gauge.add(-1)

    def exposition(self, families: list[Metric]) -> bytes:
        """What :meth:`collect` gave, and the process' figures, as text; any thread may do this,
        which is most of the work.

        Args:
            families: collected on the event loop, whose figures they are.
        """
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        if self._process is None:
            self._process = ProcessCollector(registry=None)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(families))
        registry.register(self._process)
        return bytes(generate_latest(registry))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family: the protocol of a Prometheus collector."""
        yield from self._collect_rpc()
        yield from self._collect_engine()
        yield from self._collect_labelled()
        yield from self._collect_plain()

    def _collect_rpc(self) -> Iterator[Metric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        total = CounterMetricFamily(
            "asupervisor_rpc",
            "CRI calls answered, by method and gRPC status.",
            labels=("method", "code"),
        )
        errors = CounterMetricFamily(
            "asupervisor_rpc_errors", "CRI calls not answered with OK.", labels=("method", "code")
        )
        in_flight = GaugeMetricFamily(
            "asupervisor_rpc_in_flight", "CRI calls being served.", labels=("method",)
        )
        latency = HistogramMetricFamily(
            "asupervisor_rpc_duration_seconds", "Time to answer a CRI call.", labels=("method",)
        )
        for method, figures in self.methods():
            if not (figures.in_flight or figures.latency.sum_s):
                # A node asks for a third of the methods; the others would be most of a scrape.
                continue
            in_flight.add_metric((method,), figures.in_flight)
            latency.add_metric((method,), figures.latency.buckets(), figures.latency.sum_s)
            for code, count in sorted(figures.codes.items()):
                total.add_metric((method, code), count)
                if code != "OK":
                    errors.add_metric((method, code), count)
        yield from (total, errors, in_flight, latency)

    def _collect_engine(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        label = ("operation_type",)
        total = CounterMetricFamily(
            "docker_operations", "Docker operations by operation type.", labels=label
        )
        latency = HistogramMetricFamily(
            "docker_operations_duration_seconds", "Latency of Docker operations.", labels=label
        )
        errors = CounterMetricFamily(
            "docker_operations_errors", "Docker operations that failed.", labels=label
        )
        timeouts = CounterMetricFamily(
            "docker_operations_timeout", "Docker operations whose deadline passed.", labels=label
        )
        for operation, figures in self.operations():
            total.add_metric((operation,), figures.total)
            latency.add_metric((operation,), figures.latency.buckets(), figures.latency.sum_s)
            errors.add_metric((operation,), figures.errors)
            timeouts.add_metric((operation,), figures.timeouts)
        yield from (total, latency, errors, timeouts)

    def _collect_labelled(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        events = CounterMetricFamily(
            "asupervisor_engine_events_applied",
            "Engine events applied to the node state.",
            labels=("action",),
        )
        for action, counter in sorted(self.events_applied.items()):
            events.add_metric((action,), counter.value)
        opened = GaugeMetricFamily(
            "asupervisor_streaming_sessions", "Streaming sessions open now.", labels=("kind",)
        )
        for kind, gauge in sorted(self.streaming_sessions.items()):
            opened.add_metric((kind,), gauge.current())
        sessions = CounterMetricFamily(
            "asupervisor_streaming_sessions_opened", "Streaming sessions opened.", labels=("kind",)
        )
        for kind, counter in sorted(self.streaming_sessions_total.items()):
            sessions.add_metric((kind,), counter.value)
        yield from (events, opened, sessions)

    def _collect_plain(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, text, figure in self._plain:
            if isinstance(figure, Counter):
                yield CounterMetricFamily(name, text, value=figure.value)
            else:
                yield GaugeMetricFamily(name, text, value=figure.current())
