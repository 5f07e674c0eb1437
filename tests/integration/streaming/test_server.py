"""The server on its own, with local processes behind it: TLS, limits, times, the end."""

from __future__ import annotations

import logging
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import pytest

from asupervisor.config import StreamingConfig
from asupervisor.errors import ConfigError, FailedPrecondition, Internal, Unavailable
from asupervisor.streaming import spdy
from asupervisor.streaming.client import open_command, open_port_forward
from asupervisor.streaming.dial import upgrade
from asupervisor.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest
from asupervisor.streaming.server import StreamingService
from asupervisor.streaming.settings import Settings
from asupervisor.streaming.websocket import WebSocket
from tests.harness.client import read_all, read_until, run_command
from tests.harness.spdy import receive
from tests.harness.streaming import LocalBackend

CAT = ExecRequest(container_id="c", command=("cat",), stdin=True)
TRANSPORTS = pytest.mark.parametrize("websocket", [False, True], ids=["spdy", "websocket"])


@asynccontextmanager
async def served(
    config: StreamingConfig | None = None, settings: Settings | None = None
) -> AsyncIterator[tuple[StreamingService, LocalBackend]]:
    """A service that listens on the loopback; at its end nothing of it is left."""
    backend = LocalBackend()
    service = StreamingService(config or StreamingConfig(), backend, settings=settings)
    async with anyio.create_task_group() as tasks:
        await tasks.start(service.run)
        yield service, backend
        tasks.cancel_scope.cancel()
    assert service.handler.active == 0


async def everything(stream: anyio.abc.ByteStream) -> bytes:
    """All that comes until the other side closes."""
    text = b""
    with suppress(anyio.EndOfStream):
        while True:
            text += await stream.receive()
    return text


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for the loopback."""
    cert, key = directory / "tls.crt", directory / "tls.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += [
        "-keyout",
        str(key),
        "-out",
        str(cert),
        "-subj",
        f"/CN={name}",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@TRANSPORTS
async def test_tls_and_a_certificate_that_changes(tmp_path: Path, websocket: bool) -> None:
    cert, key = certificate(tmp_path, "first")
    async with served(StreamingConfig(tls_cert_file=str(cert), tls_private_key_file=str(key))) as (
        service,
        _,
    ):

        async def run(trusted: ssl.SSLContext) -> bytes:
            url = service.url(CAT)
            assert url.startswith("https://127.0.0.1:")
            async with open_command(
                url, stdin=True, websocket=websocket, ssl_context=trusted
            ) as command:
                assert command.stdin is not None
                await command.stdin.send(b"secret")
                return await read_until(command.stdout, b"secret")

        first = ssl.create_default_context(cafile=str(cert))
        assert await run(first) == b"secret"
        await anyio.to_thread.run_sync(certificate, tmp_path, "second")
        assert await run(ssl.create_default_context(cafile=str(cert))) == b"secret"
        with pytest.raises(Unavailable):
            await run(first)
        key.write_text("half written")
        assert (
            await run(ssl.create_default_context(cafile=str(cert))) == b"secret"
        )  # what was good before stays


async def test_a_certificate_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    config = StreamingConfig(
        tls_cert_file=str(tmp_path / "none"), tls_private_key_file=str(tmp_path / "none")
    )
    with pytest.raises(ConfigError):
        await StreamingService(config, LocalBackend()).run()


async def test_an_address_that_is_taken_stops_the_start() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as taken:
        port = taken.extra(anyio.abc.SocketAttribute.local_port)
        with pytest.raises(ConfigError, match=str(port)):
            await StreamingService(StreamingConfig(bind_port=port), LocalBackend()).run()


@TRANSPORTS
async def test_sessions_end_by_themselves_within_the_grace(websocket: bool) -> None:
    async with served() as (service, _), anyio.create_task_group() as tasks:
        async with open_command(service.url(CAT), stdin=True, websocket=websocket) as command:
            assert command.stdin is not None
            await command.stdin.send(b"x")
            await read_until(command.stdout, b"x")
            drained = anyio.Event()

            async def drain() -> None:
                await service.drain(60)
                drained.set()

            tasks.start_soon(drain)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Unavailable):
                await run_command(service.url(CAT), given=b"")
            await command.stdin.send(b"still")
            await read_until(command.stdout, b"still")
            assert not drained.is_set()
            await command.stdin.send_eof()
            await read_all(command.stdout)
            assert (await command.wait()).is_success
        await drained.wait()


async def test_sessions_that_outlast_the_grace_are_closed_with_a_farewell() -> None:
    async with served() as (service, backend):
        over_spdy = await upgrade(service.url(CAT), ["v4.channel.k8s.io"], websocket=False)
        over_websocket = await upgrade(service.url(CAT), ["v4.channel.k8s.io"], websocket=True)
        connection = spdy.Connection(spdy.Role.CLIENT)
        for name in ("error", "stdin", "stdout", "stderr"):
            connection.open_stream({"streamtype": name})
        await over_spdy.stream.send(connection.data_to_send())
        async with WebSocket(
            over_websocket.stream, client=True, received=over_websocket.received
        ) as websocket:
            await websocket.receive()
            while len(backend.processes) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await service.drain(0)
            with suppress(anyio.EndOfStream):
                while True:
                    await websocket.receive()
            assert websocket.close_code == 1000
        events = receive(connection, await everything(over_spdy.stream))
        assert isinstance(events[-1], spdy.GoAwayReceived)
        assert all(process.killed for process in backend.processes)
        await over_spdy.stream.aclose()
        await over_websocket.stream.aclose()


async def test_more_sessions_than_allowed_are_turned_away() -> None:
    async with (
        served(settings=Settings(sessions=2)) as (service, _),
        anyio.create_task_group() as tasks,
    ):
        up = anyio.Event()
        async with (
            open_command(service.url(CAT), stdin=True),
            open_command(service.url(CAT), stdin=True, websocket=True) as second,
        ):
            assert second.stdin is not None
            await second.stdin.send(b"x")
            await read_until(second.stdout, b"x")
            with pytest.raises(Unavailable):
                await run_command(service.url(CAT), given=b"")
            up.set()
        while service.handler.active:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        assert (await run_command(service.url(CAT), given=b"again")).stdout == b"again"
        tasks.cancel_scope.cancel()


@TRANSPORTS
async def test_a_session_without_data_ends_after_the_idle_time(websocket: bool) -> None:
    async with served(settings=Settings(idle_timeout_s=0.2)) as (service, backend):
        async with open_command(service.url(CAT), stdin=True, websocket=websocket) as command:
            assert command.stdout is not None
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                await command.stdout.receive()
        while service.handler.active:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        assert backend.processes[0].killed


@TRANSPORTS
async def test_an_idle_time_of_zero_closes_nothing(websocket: bool) -> None:
    async with (
        served(StreamingConfig(idle_timeout_s=0)) as (service, backend),
        open_command(service.url(CAT), stdin=True, websocket=websocket) as command,
    ):
        assert command.stdin is not None
        for _ in range(3):
            await command.stdin.send(b"x")
            await read_until(command.stdout, b"x")
            await anyio.wait_all_tasks_blocked()
        assert not backend.processes[0].killed


async def test_streams_that_are_not_opened_in_time_end_the_session() -> None:
    async with served(settings=Settings(creation_timeout_s=0.1, farewell_timeout_s=0.2)) as (
        service,
        backend,
    ):
        upgraded = await upgrade(service.url(CAT), ["v4.channel.k8s.io"], websocket=False)
        connection = spdy.Connection(spdy.Role.CLIENT)
        connection.open_stream({"streamtype": "error"})
        await upgraded.stream.send(connection.data_to_send())
        events = receive(connection, await everything(upgraded.stream))
        assert isinstance(events[-1], spdy.GoAwayReceived)
        assert not backend.processes
        await upgraded.stream.aclose()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /exec/nonsense HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"PUT /exec/TOKEN HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /exec/TOKEN HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400),
        (
            (
                b"POST /exec/TOKEN HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade:"
                b" SPDY/3.1\r\n\r\n"
            ),
            400,
        ),
        (
            (
                b"GET /exec/TOKEN HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade:"
                b" websocket\r\nSec-WebSocket-Version: 8\r\n\r\n"
            ),
            400,
        ),
        (b"GET /attach/TOKEN HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
    ids=[
        "no verb",
        "no token",
        "method",
        "no upgrade",
        "no protocol",
        "old websocket",
        "other verb",
        "tls",
        "too long",
    ],
)
async def test_requests_that_cannot_be_served_are_answered(request_: bytes, status: int) -> None:
    async with served() as (service, _):
        url = service.url(CAT)
        token = url.rsplit("/", 1)[1]
        port = int(url.split(":")[2].split("/")[0])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(request_.replace(b"TOKEN", token.encode()))
            await stream.send_eof()
            answer = await everything(stream)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_the_access_log_names_everything_but_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "asupervisor.streaming"):
        async with served() as (service, _):
            url = service.url(CAT)
            await run_command(url, given=b"x")
            while service.handler.active:  # noqa: ASYNC110
                await anyio.sleep(0.01)
    (line,) = [
        record.getMessage()
        for record in caplog.records
        if record.name == "asupervisor.streaming.access"
    ]
    assert "POST /exec" in line and "subject=c" in line and "exit code 0" in line
    assert url.rsplit("/", 1)[1] not in caplog.text


async def test_an_embedding_program_serves_the_streams_in_its_own_listener() -> None:
    async with served(StreamingConfig(redirect=True)) as (service, _):
        path = service.url(CAT)
        assert path.startswith("/cri/exec/")
        with pytest.raises(Exception, match="not an http"):
            await run_command(path)

        async def accept(stream: anyio.abc.SocketStream) -> None:
            # The program has read the beginning already, to see whose request it is.
            await service.handler.serve(stream, received=await stream.receive(10))

        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, accept)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            assert (
                await run_command(f"http://127.0.0.1:{port}{path}", given=b"embedded")
            ).stdout == b"embedded"
            tasks.cancel_scope.cancel()


def test_there_is_no_url_before_the_service_listens() -> None:
    with pytest.raises(FailedPrecondition):
        StreamingService(StreamingConfig(), LocalBackend()).url(AttachRequest(container_id="c"))


@TRANSPORTS
async def test_stdin_that_is_not_read_stops_the_sender(websocket: bool) -> None:
    async with served() as (service, backend):
        request = ExecRequest(container_id="c", command=("sleep", "1000"), stdin=True)
        async with open_command(service.url(request), stdin=True, websocket=websocket) as command:
            assert command.stdin is not None
            sent = 0
            while True:
                with anyio.move_on_after(0.3) as patience:
                    await command.stdin.send(bytes(1 << 20))
                if patience.cancelled_caught:
                    break
                sent += 1
                assert sent < 64
        while service.handler.active:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        assert backend.processes[0].killed  # its end was seen behind all that


async def test_a_server_that_is_no_streaming_server_is_told_apart() -> None:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"SSH-2.0-no\r\n\r\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, answer)
        with pytest.raises(Internal):
            await run_command(
                f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/exec/x"
            )
        tasks.cancel_scope.cancel()


async def test_a_forward_that_is_idle_on_one_port_does_not_hold_up_another() -> None:
    """A connection whose pod does not read fills its own window and nobody else's."""

    async def stuck(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async with (
        served() as (service, _),
        AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
    ):
        ports = []
        for handler in (stuck, echo):
            listener = await stack.enter_async_context(
                await anyio.create_tcp_listener(local_host="127.0.0.1")
            )
            ports.append(listener.extra(anyio.abc.SocketAttribute.local_port))
            tasks.start_soon(listener.serve, handler)
        url = service.url(PortForwardRequest(pod_sandbox_id="p"))
        async with open_port_forward(url) as forwarder, forwarder.connect(ports[0]) as first:
            with anyio.move_on_after(0.5):
                while True:
                    await first.data.send(bytes(1 << 20))
            async with forwarder.connect(ports[1]) as second:
                await second.data.send(b"alive")
                assert await second.data.receive() == b"alive"
        tasks.cancel_scope.cancel()
