"""Connections of a listening socket are taken by one waiter, or stay for the next."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from asupervisor.listening import accept, open_stream, serve
from tests.harness.loops import on_both_loops
from tests.harness.sockets import reset

pytestmark = on_both_loops


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        one.setblocking(False)
        yield one


async def test_a_connection_that_comes_as_the_wait_is_cancelled_is_not_lost(
    listener: socket.socket,
) -> None:
    taken: list[socket.socket] = []

    async def take() -> None:
        taken.append(await accept(listener, "a test"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        # In the next turn of the loop both are there, the end of the wait before the connection.
        asyncio.get_running_loop().call_soon(tasks.cancel_scope.cancel)
        client = socket.create_connection(listener.getsockname())
    if not taken:
        with anyio.fail_after(30):
            await take()
    with client, taken[0] as connection:
        assert connection.getpeername() == client.getsockname()
        assert not connection.getblocking()


async def test_a_client_waits_while_the_process_is_out_of_descriptors(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[socket.socket] = []

    async def take() -> None:
        taken.append(await accept(listener, "a test"))

    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        with socket.create_connection(listener.getsockname()) as client, anyio.fail_after(30):
            # The next free number is the first one out of bounds.
            free = os.dup(client.fileno())
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, usual[1]))
            try:
                while "a connection for a test has to wait" not in caplog.text:
                    await anyio.lowlevel.checkpoint()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    with taken[0] as connection:
        assert connection.fileno() >= 0


async def test_a_socket_that_listens_no_more_is_an_error(listener: socket.socket) -> None:
    listener.shutdown(socket.SHUT_RD)
    with anyio.fail_after(30), pytest.raises(OSError) as caught:  # noqa: PT011
        await accept(listener, "a test")
    assert caught.value.errno == errno.EINVAL


async def test_a_client_that_resets_before_it_is_served_ends_nothing() -> None:
    served = anyio.Event()

    async def handle(stream: SocketStream) -> None:
        async with stream:
            served.set()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(serve, listener, "a test", handle)
        address = ("127.0.0.1", listener.extra(SocketAttribute.local_port))
        for _ in range(20):
            reset(socket.create_connection(address))
        with socket.create_connection(address), anyio.fail_after(30):
            await served.wait()
        tasks.cancel_scope.cancel()


async def test_a_connection_that_was_reset_has_no_stream(listener: socket.socket) -> None:
    client = socket.create_connection(listener.getsockname())
    with anyio.fail_after(30):
        connection = await accept(listener, "a test")
    reset(client)
    assert await open_stream(connection) is None
    assert connection.fileno() == -1
