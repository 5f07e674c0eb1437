"""Every metric of the service, declared once.

A call that answers from memory takes about 100 µs in all, so its figures are plain integers that
only the event loop's thread changes; nothing here takes a lock. They become Prometheus samples when
they are scraped: see :meth:`Metrics.exposition`. Each supervisor owns one :class:`Metrics`, so that
two can live in one process.

Names: the engine's operations keep the names that dockershim gave them (``docker_operations_…``);
everything else is ``asupervisor_…``, apart from the ``process_…`` figures that every Prometheus
client exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asupervisor.errors import DeadlineExceeded
from asupervisor.figures import Counter, EngineFigures, Gauge, RpcFigures

if TYPE_CHECKING:
    from prometheus_client import ProcessCollector
    from prometheus_client.core import Metric

SCRAPE_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The Content-Type of :meth:`Metrics.exposition`."""


class _Collected:
    """A collector of families that were collected already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


class Metrics:
    """The figures of one supervisor. Made without I/O; each owner changes its own fields."""

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
        """Every method that the server has, sorted by name."""
        return sorted(self._rpc.items())

    def operations(self) -> list[tuple[str, EngineFigures]]:
        """Every engine operation that was done, sorted by name."""
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
        """Count one finished engine request; the engine session calls this."""
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
        """Count one streaming session (``exec``, ``attach``, ``portforward``)."""
        gauge = self.streaming_sessions.setdefault(kind, Gauge())
        self.streaming_sessions_total.setdefault(kind, Counter()).add()
        gauge.add()
        try:
            yield
        finally:
            gauge.add(-1)

    def exposition(self, families: list[Metric]) -> bytes:
        """What :meth:`collect` gave, and the process' figures, as text. This is most of the work of
        a scrape, and any thread may do it.

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
