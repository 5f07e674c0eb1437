"""OpenTelemetry traces, against a collector that keeps what it is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc.aio
import pytest

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.service import service_config
from tests.integration.observability.conftest import pod_config


@asynccontextmanager
async def collector(spans: list[Any]) -> AsyncIterator[str]:
    """An OTLP trace service; gives its address."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    async def export(request: Any, context: Any) -> bytes:
        for resource in request.resource_spans:
            names = {
                attribute.key: attribute.value.string_value
                for attribute in resource.resource.attributes
            }
            assert names["service.name"] == "asupervisor"
            spans.extend(span for scope in resource.scope_spans for span in scope.spans)
        return b""

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(export, ExportTraceServiceRequest.FromString)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": handler}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(1)


def test_a_span_for_each_call_and_below_it_for_each_engine_request(
    engine: Engine, tmp_path: Path
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    parent, trace = "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736"
    spans: list[Any] = []

    async def main() -> None:
        async with collector(spans) as address:  # noqa: SIM117 - the one must outlive the other
            async with Supervisor(
                service_config(engine, tmp_path, tracing_endpoint=address)
            ) as supervisor:
                async with grpc.aio.insecure_channel(f"unix://{tmp_path}/cri.sock") as channel:
                    run = channel.unary_unary("/runtime.v1.RuntimeService/RunPodSandbox")
                    config = pod_config(annotations={"secret": "planted-annotation"})
                    request = cri.RunPodSandboxRequest(config=config).SerializeToString()
                    answer = cri.RunPodSandboxResponse.FromString(
                        await run(
                            request,
                            metadata=(
                                ("traceparent", f"00-{trace}-{parent}-01"),
                                ("authorization", "planted-header"),
                            ),
                        )
                    )
                    status = channel.unary_unary("/runtime.v1.RuntimeService/ContainerStatus")
                    with pytest.raises(grpc.aio.AioRpcError):
                        await status(
                            cri.ContainerStatusRequest(container_id="none").SerializeToString()
                        )
                    async for _ in channel.unary_stream(
                        "/runtime.v1.RuntimeService/StreamPodSandboxes"
                    )(b""):
                        pass
                await supervisor.runtime.stop_pod_sandbox(answer.pod_sandbox_id)
                await supervisor.runtime.remove_pod_sandbox(answer.pod_sandbox_id)

    anyio.run(main)
    by_name: dict[str, list[Any]] = {}
    for span in spans:
        by_name.setdefault(span.name, []).append(span)
    run = by_name["runtime.v1.RuntimeService/RunPodSandbox"][0]
    assert (run.trace_id.hex(), run.parent_span_id.hex()) == (
        trace,
        parent,
    ), "the caller's span goes on here"
    create = by_name["docker create_container"][0]
    assert (create.trace_id, create.parent_span_id) == (run.trace_id, run.span_id)
    assert (
        run.start_time_unix_nano
        <= create.start_time_unix_nano
        <= create.end_time_unix_nano
        <= run.end_time_unix_nano
    )
    failed = by_name["runtime.v1.RuntimeService/ContainerStatus"][0]
    assert (failed.status.code, failed.status.message) == (2, "NOT_FOUND")
    assert run.status.code == 0
    assert "runtime.v1.RuntimeService/StreamPodSandboxes" in by_name
    assert "docker ping" not in by_name, "only what a call makes is traced"
    assert "planted" not in str(spans)


def test_without_an_endpoint_the_libraries_are_not_even_imported() -> None:
    program = (
        "import sys, asupervisor.supervisor; print([name for name in sys.modules if"
        " name.startswith('opentelemetry')])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


def test_the_missing_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from asupervisor.observability.tracing import Tracing\n"
        "from asupervisor.errors import ConfigError\n"
        "try:\n    Tracing('127.0.0.1:4317')\nexcept ConfigError as error:\n    print(error)\n"
    )
    assert "install asupervisor[otel]" in subprocess.check_output(
        [sys.executable, "-c", program], text=True
    )
