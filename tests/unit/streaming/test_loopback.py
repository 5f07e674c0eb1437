"""A connection that its other end breaks as soon as it is made is broken, not an error of ours."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import anyio
import pytest
from anyio.abc import SocketStream

from asupervisor.listening import open_stream
from asupervisor.streaming.loopback import connect_loopback
from tests.harness.loops import on_both_loops
from tests.harness.sockets import reset

pytestmark = on_both_loops


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


async def test_a_connection_that_is_reset_before_it_is_a_stream_is_broken(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    async def reset_first(connection: socket.socket) -> SocketStream | None:
        reset(listener.accept()[0])
        made.append(connection)
        return await open_stream(connection)

    monkeypatch.setattr("asupervisor.streaming.loopback.open_stream", reset_first)
    with pytest.raises(anyio.BrokenResourceError):
        await connect_loopback("/proc/self/ns/net", listener.getsockname()[1])
    assert [connection.fileno() for connection in made] == [-1]
