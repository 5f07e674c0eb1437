"""The HTTP endpoint, gRPC health and reflection of a real service."""

from __future__ import annotations

import contextlib
import http.client
import resource
import select
import signal
import socket
import subprocess

import anyio
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from prometheus_client.parser import text_string_to_metric_families

from asupervisor.dockershim.rpc.reflection import ReflectionService
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine, eventually
from tests.harness.service import Service
from tests.integration.observability.conftest import metrics_address, pod_config, samples


def get(service: Service, path: str, method: str = "GET") -> tuple[int, str]:
    host, port = metrics_address(service)
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def test_metrics_count_what_was_called(
    runtime: RemoteRuntimeService, service: Service
) -> None:
    def value(name: str, **labels: str) -> float:
        return samples(service).get((name, tuple(sorted(labels.items()))), 0.0)

    calls = value("asupervisor_rpc_total", method="RunPodSandbox", code="OK")
    misses = value("asupervisor_rpc_errors_total", method="ContainerStatus", code="NOT_FOUND")
    creations = value("docker_operations_total", operation_type="create_container")
    events = value("asupervisor_engine_events_applied_total", action="start")

    await runtime.run_pod_sandbox(pod_config())
    with pytest.raises(Exception, match="does not exist"):
        await runtime.container_status("none")
    assert await anyio.to_thread.run_sync(value, "asupervisor_sandboxes") == 1
    assert value("asupervisor_rpc_total", method="RunPodSandbox", code="OK") == calls + 1
    assert value("asupervisor_rpc_duration_seconds_count", method="RunPodSandbox") == calls + 1
    assert (
        value("asupervisor_rpc_errors_total", method="ContainerStatus", code="NOT_FOUND")
        == misses + 1
    )
    assert value("asupervisor_rpc_in_flight", method="RunPodSandbox") == 0
    assert value("docker_operations_total", operation_type="create_container") == creations + 1
    assert (
        value("docker_operations_duration_seconds_count", operation_type="create_container")
        == creations + 1
    )
    assert value("asupervisor_engine_events_applied_total", action="start") == events + 1
    assert value("asupervisor_engine_resyncs_total") >= 1
    assert value("asupervisor_tasks") > 3
    assert value("process_resident_memory_bytes") > 1 << 20
    families = {
        family.name for family in text_string_to_metric_families(get(service, "/metrics")[1])
    }
    assert {
        "docker_operations_errors",
        "docker_operations_timeout",
        "asupervisor_log_bytes",
        "asupervisor_streaming_sessions",
    } <= families


def test_health_readiness_and_pages(service: Service) -> None:
    assert get(service, "/healthz") == (200, "ok\n")
    assert get(service, "/readyz") == (200, "ready\n")
    assert get(service, "/readyz?verbose")[0] == 200
    assert get(service, "/nowhere")[0] == 404
    assert get(service, "/healthz", "POST")[0] == 405
    assert get(service, "/healthz", "HEAD") == (200, "")


def test_a_scraper_keeps_its_connection(service: Service) -> None:
    connection = http.client.HTTPConnection(*metrics_address(service), timeout=10)
    try:
        for _ in range(3):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
    finally:
        connection.close()


def test_it_listens_on_the_loopback_only(service: Service) -> None:
    port = metrics_address(service)[1]
    listening = subprocess.check_output(["ss", "-Hltn", f"sport = :{port}"], text=True).split()
    assert listening[3] == f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01 no http\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000],
)
def test_garbage_ends_its_connection_alone(service: Service, garbage: bytes) -> None:
    with socket.create_connection(metrics_address(service), timeout=10) as connection:
        connection.sendall(garbage)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
    assert get(service, "/healthz")[0] == 200


def test_too_many_connections_do_not_take_the_descriptors_away(service: Service) -> None:
    held = [socket.create_connection(metrics_address(service), timeout=10) for _ in range(60)]
    try:
        assert select.select(held, [], [], 10)[0], "nothing was asked, so some are closed"
    finally:
        for connection in held:
            connection.close()
    eventually(lambda: get(service, "/healthz")[0] == 200, "free again", timeout_s=10)


def test_a_node_out_of_descriptors_gets_no_metrics_for_a_while(service: Service) -> None:
    before = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        connection = http.client.HTTPConnection(*metrics_address(service), timeout=20)
        connection.request("GET", "/healthz")
        eventually(
            lambda: "a connection for metrics has to wait" in service.output,
            "the refusal is logged",
        )
    finally:
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, before)
    assert connection.getresponse().read() == b"ok\n"
    connection.close()
    eventually(lambda: get(service, "/readyz")[0] == 200, "ready again")


def test_the_tasks_show_where_they_wait(service: Service) -> None:
    status, text = get(service, "/debug/tasks")
    assert status == 200
    assert "VmRSS: " in text and "operations under way: none" in text
    assert "- node state\n" in text and "node/feed.py:" in text and "Feed.run" in text
    assert "- engine probe\n" in text
    lines = text.splitlines()
    observability = next(line for line in lines if line.endswith("- observability"))
    lag = next(line for line in lines if line.endswith("- event loop lag"))
    assert len(lag) - len(lag.lstrip()) > len(observability) - len(observability.lstrip()), (
        "children stand below their parent"
    )


def test_readiness_follows_the_engine_and_says_why(engine: Engine) -> None:
    running = Service(engine, flags=("--metrics-bind-addr", ":0"))
    running.start()
    try:
        assert get(running, "/readyz")[0] == 200
        assert anyio.run(health, running, "runtime.v1.RuntimeService") == 1
        engine.signal(signal.SIGSTOP)
        text = eventually(
            lambda: (answer := get(running, "/readyz"))[0] == 503 and answer[1], "not ready"
        )
        assert text.startswith("not ready: Docker Engine"), text
        assert get(running, "/healthz")[0] == 200, "the service itself is well"
        assert anyio.run(health, running, "runtime.v1.RuntimeService") == 2
        assert anyio.run(health, running, "") == 1
        engine.signal(signal.SIGCONT)
        eventually(lambda: get(running, "/readyz")[0] == 200, "ready again")
        assert running.stop() == 0
    finally:
        engine.signal(signal.SIGCONT)
        if running.process is not None:
            running.kill()


async def health(service: Service, name: str) -> int:
    """The status by number of one service, by gRPC health."""
    request = b"\x0a" + bytes((len(name),)) + name.encode() if name else b""
    async with grpc.aio.insecure_channel(service.endpoint) as channel:
        answer = await channel.unary_unary("/grpc.health.v1.Health/Check")(request)
        return int(answer[1])


def test_grpc_health(service: Service) -> None:
    for name in (
        "",
        "runtime.v1.RuntimeService",
        "runtime.v1.ImageService",
        "runtime.v1alpha2.RuntimeService",
        "grpc.health.v1.Health",
    ):
        assert anyio.run(health, service, name) == 1, name
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        anyio.run(health, service, "no.such.Service")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    async def watch() -> bytes:
        async with grpc.aio.insecure_channel(service.endpoint) as channel:
            stream = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
            first: bytes = await stream.read()
            stream.cancel()
            return first

    assert anyio.run(watch) == b"\x08\x01"


@pytest.mark.parametrize("protocol", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_grpc_reflection_describes_every_service(service: Service, protocol: str) -> None:
    own = ReflectionService()
    own._load()
    ask, told = (
        own._messages[f"{protocol}.ServerReflectionRequest"],
        own._messages[f"{protocol}.ServerReflectionResponse"],
    )

    async def questions(*requests: object) -> list[object]:
        async with grpc.aio.insecure_channel(service.endpoint) as channel:
            method = f"/{protocol}.ServerReflection/ServerReflectionInfo"
            call = channel.stream_stream(
                method, lambda message: message.SerializeToString(), told.FromString
            )
            return [answer async for answer in call(iter(requests))]

    listed = anyio.run(questions, ask(list_services=""))[0]
    names = [one.name for one in listed.list_services_response.service]  # type: ignore[attr-defined]
    assert {
        "runtime.v1.RuntimeService",
        "runtime.v1.ImageService",
        "runtime.v1alpha2.RuntimeService",
        "grpc.health.v1.Health",
    } <= set(names)
    answers = anyio.run(
        questions,
        *(ask(file_containing_symbol=name) for name in names),
        ask(file_containing_symbol="none"),
    )
    pool = descriptor_pool.DescriptorPool()
    for answer in answers[:-1]:
        for content in answer.file_descriptor_response.file_descriptor_proto:  # type: ignore[attr-defined]
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(content))
    for name in names:
        assert pool.FindServiceByName(name).methods
    methods = pool.FindServiceByName("runtime.v1alpha2.RuntimeService").methods_by_name
    assert (
        methods["ListContainers"].output_type.full_name == "runtime.v1alpha2.ListContainersResponse"
    )
    assert len(methods) == len(cri.DESCRIPTOR.services_by_name["RuntimeService"].methods)
    assert answers[-1].error_response.error_code == 5  # type: ignore[attr-defined]


def test_the_address_is_refused_when_it_is_taken(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        running = Service(engine, flags=("--metrics-bind-addr", address))
        running.spawn()
        assert running.process is not None
        assert running.process.wait(30) != 0
        assert f"--metrics-bind-addr: {address} cannot be bound" in running.output
        assert "Traceback" not in running.output
        assert not running.socket.exists()
