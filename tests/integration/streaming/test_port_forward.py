"""Port-forward through the whole service, into the sandbox's own network."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound
from asupervisor.host.netns import in_namespace
from asupervisor.listening import accept, open_stream
from asupervisor.streaming.client import Forwarded, open_port_channels, open_port_forward
from tests.harness.client import read_all, read_until
from tests.harness.engine import Engine
from tests.harness.pods import until
from tests.harness.service import Service
from tests.harness.sockets import reset
from tests.integration.streaming.conftest import Pod

TRANSPORTS = pytest.mark.parametrize("websocket", [False, True], ids=["spdy", "tunnel"])


def netns(pod: Pod) -> str:
    """Where the pod's network is."""
    return f"/proc/{pod.engine.inspect(pod.sandbox_id)['State']['Pid']}/ns/net"


async def echo(stream: anyio.abc.SocketStream) -> None:
    """Give everything back, and end when the other side has."""
    async with stream:
        try:
            while True:
                await stream.send(await stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


async def count(stream: anyio.abc.SocketStream) -> None:
    """Read to the end, and only then answer with how much it was."""
    total = 0
    async with stream:
        try:
            while True:
                total += len(await stream.receive())
        except anyio.EndOfStream:
            await stream.send(str(total).encode())


@asynccontextmanager
async def listening(
    pod: Pod, handler: Callable[[anyio.abc.SocketStream], Any], address: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """A server on the loopback of the pod's network; gives its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = in_namespace(netns(pod), lambda: socket.socket(family, socket.SOCK_STREAM))
    sock.bind((address, 0))
    sock.listen(256)
    sock.setblocking(False)

    async def serve() -> None:
        while True:
            stream = await open_stream(await accept(sock, "the pod"))
            if stream is not None:
                tasks.start_soon(handler, stream)

    with sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            yield sock.getsockname()[1]
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def resetting(pod: Pod) -> AsyncIterator[int]:
    """A server in the pod's network that resets what it takes, as early as a thread can."""
    sock = in_namespace(netns(pod), lambda: socket.create_server(("127.0.0.1", 0), backlog=256))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                reset(sock.accept()[0])

    thread = threading.Thread(target=serve, name="resets connections")
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        thread.join()
        sock.close()


async def echoed(connection: Forwarded, text: bytes) -> bytes:
    """Send and half-close while reading to the end."""
    got: list[bytes] = []
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            await connection.data.send(text)
            await connection.data.send_eof()

        tasks.start_soon(send)
        got.append(await read_all(connection.data))
    return got[0]


@TRANSPORTS
async def test_bytes_go_both_ways_and_half_closing_is_passed_on(pod: Pod, websocket: bool) -> None:
    text = os.urandom(300_000)

    async with pod.runtime() as runtime:
        url = await runtime.port_forward(pod.sandbox_id)
    async with (
        listening(pod, echo) as echo_port,
        listening(pod, count) as count_port,
        open_port_forward(url, websocket=websocket) as forwarder,
    ):
        async with forwarder.connect(echo_port) as connection:
            assert await echoed(connection, text) == text
            assert await connection.failure() == ""
        async with forwarder.connect(count_port) as connection:
            assert await echoed(connection, text) == b"300000"


@TRANSPORTS
async def test_many_connections_on_many_ports_and_a_refused_one_says_so_alone(
    pod: Pod, websocket: bool
) -> None:
    async with pod.runtime() as runtime:
        url = await runtime.port_forward(pod.sandbox_id)
    async with (
        listening(pod, echo) as echo_port,
        open_port_forward(url, websocket=websocket) as forwarder,
    ):
        failures: list[str] = []

        async def good(number: int) -> None:
            text = bytes((number,)) * 20_000
            async with forwarder.connect(echo_port) as connection:
                assert await echoed(connection, text) == text

        async def refused() -> None:
            async with forwarder.connect(1) as connection:
                failures.append(await connection.failure())

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(good, number)
                tasks.start_soon(refused)
        assert len(failures) == 20
        assert all("port 1" in failure and "127.0.0.1" in failure for failure in failures)


@TRANSPORTS
async def test_a_port_that_resets_its_connections_at_once_leaves_the_others(
    pod: Pod, websocket: bool
) -> None:
    async with pod.runtime() as runtime:
        url = await runtime.port_forward(pod.sandbox_id)
    failures: list[str] = []

    async def broken(port: int) -> None:
        async with forwarder.connect(port) as connection:
            with pytest.raises(anyio.BrokenResourceError):
                await read_all(connection.data)
            failures.append(await connection.failure())

    async with (
        resetting(pod) as reset_port,
        listening(pod, echo) as echo_port,
        open_port_forward(url, websocket=websocket) as forwarder,
        forwarder.connect(echo_port) as connection,
    ):
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(broken, reset_port)
        assert failures == [""] * 100
        assert await echoed(connection, b"still here") == b"still here"


async def test_channels_carry_a_port_each(pod: Pod) -> None:
    for protocol in ("v4.channel.k8s.io", "v4.base64.channel.k8s.io"):
        async with listening(pod, echo) as echo_port:
            async with pod.runtime() as runtime:
                url = await runtime.port_forward(pod.sandbox_id, [echo_port, 1])
            async with open_port_channels(url, [echo_port, 1], protocols=[protocol]) as (
                open_port,
                closed,
            ):
                await open_port.data.send(b"hello")
                assert await read_until(open_port.data, b"hello") == b"hello"
                assert b"port 1" in await closed._error.receive()


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
async def test_ipv6_is_tried_after_ipv4(pod: Pod) -> None:
    # The engine turns IPv6 off in the networks that it makes; the pod of a dual-stack cluster has
    # it.
    await anyio.run_process(
        ["nsenter", f"--net={netns(pod)}", "sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0"]
    )

    async with pod.runtime() as runtime:
        url = await runtime.port_forward(pod.sandbox_id)
    async with (
        listening(pod, echo, "::1") as port,
        open_port_forward(url) as forwarder,
        forwarder.connect(port) as connection,
    ):
        assert await echoed(connection, b"six") == b"six"


async def test_a_host_network_pod_is_reached_too(service: Service, engine: Engine) -> None:
    pod = Pod(service, engine)
    await pod.start("host", host_network=True)

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"the host")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with pod.runtime() as runtime:
            url = await runtime.port_forward(pod.sandbox_id)
        async with open_port_forward(url) as forwarder, forwarder.connect(port) as connection:
            assert await read_all(connection.data) == b"the host"
        tasks.cancel_scope.cancel()


async def test_a_client_that_breaks_off_leaves_no_connection_behind(pod: Pod) -> None:
    def sockets() -> int:
        directory, found = Path(f"/proc/{pod.service.pid}/fd"), 0
        for entry in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += str(entry.readlink()).startswith("socket:")
        return found

    before = sockets()
    async with listening(pod, echo) as port:
        for _ in range(3):
            async with pod.runtime() as runtime:
                url = await runtime.port_forward(pod.sandbox_id)
            async with (
                open_port_forward(url) as forwarder,
                forwarder.connect(port) as connection,
            ):
                await connection.data.send(b"x" * 100_000)
                await anyio.aclose_forcefully(forwarder._session._stream)
    await until(lambda: sockets() <= before, "no connection is left")


async def test_what_cannot_be_forwarded_is_said_before_there_is_a_url(
    pod: Pod, service: Service, engine: Engine
) -> None:
    gone = Pod(service, engine)
    await gone.start("gone")
    async with pod.runtime() as runtime:
        with pytest.raises(NotFound):
            await runtime.port_forward("0" * 64)
        with pytest.raises(InvalidArgument):
            await runtime.port_forward(pod.sandbox_id, [65536])
        url = await runtime.port_forward(gone.sandbox_id)
        await runtime.stop_pod_sandbox(gone.sandbox_id)
        with pytest.raises(FailedPrecondition):
            await runtime.port_forward(gone.sandbox_id)
        async with open_port_forward(url) as forwarder, forwarder.connect(80) as connection:
            assert gone.sandbox_id[:12] in await connection.failure()
