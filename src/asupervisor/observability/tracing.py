"""OpenTelemetry traces: a span for each CRI call, with a span below it for each engine request that
the call makes.

Without an endpoint it is off and costs nothing: the libraries are an optional extra, and are not
imported. A span has the names of the call and of the engine operation, and the status, but no value
of a request."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from asupervisor.errors import ConfigError

_FLUSH_DEADLINE_MS = 3000


class Tracing:
    """Exports spans by OTLP over gRPC. Sampling and further settings are those of the environment
    (``OTEL_…``).

    Args:
        endpoint: ``host:port`` or ``http://host:port``, not encrypted; ``https://host:port`` with
            TLS.

    Raises:
        ConfigError: the extra ``otel`` is not installed.
    """

    def __init__(self, endpoint: str) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ConfigError(
                "--tracing-endpoint needs the OpenTelemetry libraries: install asupervisor[otel]"
            ) from error
        # A provider of our own: the process-wide one belongs to an embedding program.
        resource = Resource({SERVICE_NAME: "asupervisor"}).merge(OTELResourceDetector().detect())
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
        self._processor = BatchSpanProcessor(exporter)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("asupervisor")
        self._propagator = TraceContextTextMapPropagator()
        self._trace, self._kinds = trace, trace.SpanKind
        self._status, self._codes = trace.Status, trace.StatusCode

    @contextmanager
    def call(
        self, service: str, method: str, metadata: Iterable[tuple[str, str | bytes]]
    ) -> Iterator[Any]:
        """A span for a CRI call, below the caller's span if it sends one (``traceparent``, as
        kubelet does).

        Args:
            service: ``RuntimeService`` or ``ImageService``.
            method: the RPC.
            metadata: of the call.

        Yields:
            The span, for :meth:`end`.
        """
        carrier = {
            key: value
            for key, value in metadata
            if isinstance(value, str) and key in ("traceparent", "tracestate")
        }
        name = f"runtime.v1.{service}"
        attributes = {"rpc.system": "grpc", "rpc.service": name, "rpc.method": method}
        span = self._tracer.start_span(
            f"{name}/{method}",
            context=self._propagator.extract(carrier),
            kind=self._kinds.SERVER,
            attributes=attributes,
        )
        try:
            with self._trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        finally:
            span.end()

    def end(self, span: Any, code: str, number: int) -> None:
        """Note the status of a call.

        Args:
            span: as :meth:`call` gave it.
            code: name of the gRPC status.
            number: the same as a number.
        """
        span.set_attribute("rpc.grpc.status_code", number)
        if code != "OK":
            span.set_status(self._status(self._codes.ERROR, code))

    def engine_operation(self, operation: str, seconds: float, error: Exception | None) -> None:
        """Make a span for an engine request that just ended, below the call that made it."""
        if not self._trace.get_current_span().is_recording():
            return
        ended = time.time_ns()
        started = ended - int(seconds * 1e9)
        attributes = {"docker.operation": operation}
        span = self._tracer.start_span(
            f"docker {operation}",
            kind=self._kinds.CLIENT,
            attributes=attributes,
            start_time=started,
        )
        if error is not None:
            span.set_status(self._status(self._codes.ERROR, type(error).__name__))
        span.end(ended)

    def close(self) -> None:
        """Send what is left, for a few seconds at most; blocks."""
        self._provider.force_flush(_FLUSH_DEADLINE_MS)
        self._provider.shutdown()
