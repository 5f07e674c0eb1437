"""Connections that say nothing, or nothing that is worth anything: who has a good URL gets its
session all the same.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest

from asupervisor.metrics import Metrics
from asupervisor.observability.pages import Observability
from asupervisor.streaming.client import open_command
from asupervisor.streaming.settings import Settings
from tests.harness.client import read_until, run_command
from tests.integration.streaming.test_server import CAT, TRANSPORTS, served

BEGINNINGS = {
    "nothing": b"",
    "half a head": b"GET /exec/x HTTP/1.1\r\nHost: x\r\n",
    "a bad token": b"GET /exec/x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a hello": b"\x16\x03\x01\x00\x05hello",
}


@asynccontextmanager
async def flood(port: int, count: int, beginning: bytes) -> AsyncIterator[list[socket.socket]]:
    """That many connections from a thread, so that the server can take them meanwhile."""
    found: list[socket.socket] = []

    def connect() -> None:
        for _ in range(count):
            found.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            found[-1].sendall(beginning)

    try:
        await anyio.to_thread.run_sync(connect)
        yield found
    finally:
        for one in found:
            one.close()


@TRANSPORTS
@pytest.mark.parametrize("beginning", list(BEGINNINGS))
async def test_a_good_url_is_served_beside_any_number_of_others(
    beginning: str, websocket: bool
) -> None:
    bounds = Settings(waiting=16, waiting_per_peer=16, head_timeout_s=600, farewell_timeout_s=600)
    async with served(settings=bounds) as (service, _):
        port = int(service.base_url.rpartition(":")[2])
        async with flood(port, 100, BEGINNINGS[beginning]):
            answer = await run_command(service.url(CAT), given=b"x", websocket=websocket)
            assert answer.stdout == b"x"
            assert service.handler.active <= 20


async def test_a_session_stays_when_a_flood_comes() -> None:
    bounds = Settings(waiting=4, waiting_per_peer=4, head_timeout_s=600)
    async with (
        served(settings=bounds) as (service, _),
        open_command(service.url(CAT), stdin=True) as command,
    ):
        assert command.stdin is not None
        await command.stdin.send(b"x")
        await read_until(command.stdout, b"x")
        async with flood(int(service.base_url.rpartition(":")[2]), 50, b"") as silent:
            with anyio.fail_after(30):
                await anyio.to_thread.run_sync(silent[0].recv, 1)  # the oldest had to go
            await command.stdin.send(b"y")
            await read_until(command.stdout, b"y")


async def test_more_than_there_were_places_for_are_taken_at_the_usual_bounds() -> None:
    """As many as once kept a good client out, and as many again."""
    async with served() as (service, _):
        port = int(service.base_url.rpartition(":")[2])
        async with flood(port, 2100, b""):
            assert (await run_command(service.url(CAT), given=b"x")).stdout == b"x"


async def test_the_pages_are_served_beside_silent_connections() -> None:
    page = Observability("127.0.0.1:0", Metrics(), list)
    async with anyio.create_task_group() as tasks:
        port = int((await tasks.start(page.run)).rpartition(":")[2])
        async with (
            flood(port, 200, b""),
            await anyio.connect_tcp("127.0.0.1", port) as stream,
        ):
            for _ in range(3):
                await stream.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "more",
    [b"a:\r\n" * 5000, b"\r\n" * 5000, b"a: b\n" * 5000],
    ids=["headers", "empty lines", "bare line feeds"],
)
async def test_a_head_of_many_lines_is_refused(more: bytes) -> None:
    answer = await first_answer(b"GET /exec/x HTTP/1.1\r\nHost: x\r\n" + more)
    assert answer[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400", b"HTTP/1.1 404")


async def test_a_body_of_many_chunks_is_refused() -> None:
    head = b"POST /exec/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await first_answer(head + b"1\r\na\r\n" * 1000)).startswith(b"HTTP/1.1 413")


async def first_answer(sent: bytes) -> bytes:
    async with served(settings=Settings(farewell_timeout_s=0.5)) as (service, _):
        port = int(service.base_url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(sent)
            return await stream.receive()
