"""The client when a call fails: errors, deadlines, cancellation, servers that are not there."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest

from asupervisor import errors
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.pods import until
from tests.integration.remote.calls import V1, fail, hang, runtime_of
from tests.integration.remote.server import CriServer


async def test_error_names_method_and_endpoint_and_keeps_its_cause(endpoint: str) -> None:
    server = CriServer(V1)
    server.behaviours["RuntimeService/ContainerStatus"] = fail(
        grpc.StatusCode.NOT_FOUND, "no container c"
    )
    async with runtime_of(server, endpoint) as runtime:
        with pytest.raises(errors.NotFound) as caught:
            await runtime.container_status("c")
    assert caught.value.message == f"RuntimeService/ContainerStatus at {endpoint}: no container c"
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)


async def test_error_in_a_stream(endpoint: str) -> None:
    server = CriServer(V1)
    server.behaviours["RuntimeService/GetContainerEvents"] = fail(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "too slow"
    )
    async with runtime_of(server, endpoint) as runtime:
        with pytest.raises(errors.ResourceExhausted, match="too slow"):
            await anext(runtime.get_container_events())


async def test_repeated_error_is_logged_once(
    endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = CriServer(V1)
    server.behaviours["RuntimeService/Status"] = fail(grpc.StatusCode.INTERNAL, "broken")
    async with runtime_of(server, endpoint) as runtime:
        for _ in range(3):
            with pytest.raises(errors.Internal):
                await runtime.status()
    records = [record for record in caplog.records if record.name == "asupervisor.remote"]
    assert [
        (record.levelno, vars(record)["cri_method"], vars(record)["endpoint"]) for record in records
    ] == [(logging.WARNING, "RuntimeService/Status", endpoint)]


async def test_no_server(endpoint: str) -> None:
    with pytest.raises(
        errors.Unavailable,
        match=r"there is no socket .*: start the runtime, or correct the endpoint",
    ):
        async with RemoteRuntimeService.connect(endpoint):
            pass


async def test_server_that_accepts_and_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "cri.sock"))
        listener.listen()
        with pytest.raises(errors.DeadlineExceeded, match=r"deadline 0\.3 s"):
            async with RemoteRuntimeService.connect(str(tmp_path / "cri.sock"), 0.3):
                pass


async def test_deadline_passes(endpoint: str) -> None:
    server = CriServer(V1)
    server.behaviours["RuntimeService/Status"] = hang()
    async with runtime_of(server, endpoint, timeout_s=0.3) as runtime:
        with pytest.raises(errors.DeadlineExceeded, match="RuntimeService/Status at unix://"):
            await runtime.status()
        await until(lambda: server.cancelled == ["RuntimeService/Status"])


async def test_cancelling_the_caller_cancels_the_pull(endpoint: str) -> None:
    server = CriServer(V1)
    server.behaviours["ImageService/PullImage"] = hang()
    async with server.listening(endpoint), RemoteImageService.connect(endpoint) as images:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(images.pull_image, "busybox")
                await until(lambda: "ImageService/PullImage" in server.requests)
                scope.cancel()
        await until(lambda: server.cancelled == ["ImageService/PullImage"])
        assert await images.list_images() == [], "the channel is none the worse"


async def test_leaving_the_events_cancels_the_call(endpoint: str) -> None:
    class Server(CriServer):
        async def first_then_hang(self, _request: Any, context: Any) -> Any:
            await context.write(cri.ContainerEventResponse(container_id="c"))
            await asyncio.get_running_loop().create_future()

    server = Server(V1)
    server.behaviours["RuntimeService/GetContainerEvents"] = server.first_then_hang
    async with runtime_of(server, endpoint) as runtime:
        async with aclosing(runtime.get_container_events()) as events:
            async for event in events:
                assert event.container_id == "c"
                break
        await until(lambda: server.cancelled == ["RuntimeService/GetContainerEvents"])


async def test_closing_fails_the_calls_in_flight(endpoint: str) -> None:
    """The callers were not cancelled, so they must not see a cancellation."""

    server = CriServer(V1)
    server.behaviours |= {
        "RuntimeService/Status": hang(),
        "RuntimeService/GetContainerEvents": hang(),
    }
    seen: list[str] = []
    async with server.listening(endpoint), anyio.create_task_group() as group:
        async with RemoteRuntimeService.connect(endpoint) as runtime:

            async def call() -> None:
                with pytest.raises(errors.Unavailable, match="was closed during the call"):
                    await runtime.status()
                seen.append("call")

            async def stream() -> None:
                with pytest.raises(errors.Unavailable, match="was closed during the call"):
                    await anext(runtime.get_container_events())
                seen.append("stream")

            group.start_soon(call)
            group.start_soon(stream)
            await until(lambda: len(server.requests) == 3)
        with pytest.raises(errors.FailedPrecondition, match="is closed"):
            await runtime.status()
    assert sorted(seen) == ["call", "stream"]


@pytest.mark.parametrize(
    ("text", "timeout_s"),
    [("npipe://x", 1.0), ("unix:///run/cri.sock", 0.0), ("unix:///run/cri.sock", float("nan"))],
)
async def test_bad_settings(text: str, timeout_s: float) -> None:
    with pytest.raises(errors.ConfigError):
        async with RemoteRuntimeService.connect(text, timeout_s):
            pass
