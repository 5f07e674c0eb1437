"""An upgrade as servers answer it, on a real socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import h11
import pytest

from asupervisor.http_upgrade import UpgradeAnswer, request_upgrade

_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nX-Chosen: a\r\n\r\n"


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[anyio.abc.ByteStream, anyio.abc.ByteStream]]:
    near, far = socket.socketpair()
    async with (
        await anyio.abc.UNIXSocketStream.from_socket(near) as client,
        await anyio.abc.UNIXSocketStream.from_socket(far) as server,
    ):
        yield client, server


async def _asked(answer: bytes, content: bytes = b"") -> tuple[UpgradeAnswer, bytes]:
    """What the client makes of an answer after which the server closes, and what it sent."""
    headers = [("Host", "h"), ("Connection", "Upgrade"), ("Upgrade", "tcp")]
    headers += [("Content-Length", str(len(content)))] if content else []
    async with _pair() as (client, server):
        await server.send(answer)
        await server.send_eof()
        request = h11.Request(method="POST", target="/x", headers=headers)
        found = await request_upgrade(client, request, content)
        return found, await server.receive()


async def test_what_comes_behind_the_head_is_the_new_protocols() -> None:
    answer, sent = await _asked(_SWITCHING + b"first bytes", b'{"Tty":true}')
    assert (answer.status, answer.headers["x-chosen"]) == (101, "a")
    assert answer.data == b"first bytes"
    assert sent.startswith(b"POST /x HTTP/1.1\r\n") and sent.endswith(b'\r\n\r\n{"Tty":true}')


async def test_a_further_informational_answer_is_passed_over() -> None:
    answer, _ = await _asked(b"HTTP/1.1 100 Continue\r\n\r\n" + _SWITCHING)
    assert answer.status == 101


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnone\r\n0\r\n\r\n",
        b"HTTP/1.0 404 Not Found\r\n\r\nnone",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 40\r\n\r\nnone",
    ],
    ids=["length", "chunks", "until the end", "cut short"],
)
async def test_a_refusal_has_its_status_and_what_came_of_its_body(answer: bytes) -> None:
    found, _ = await _asked(answer)
    assert (found.status, found.data) == (404, b"none")


async def test_a_refusal_without_an_end_is_read_only_so_far() -> None:
    async with _pair() as (client, server), anyio.create_task_group() as tasks:

        async def talk() -> None:
            await server.send(b"HTTP/1.1 500 Broken\r\n\r\n")
            while True:
                await server.send(b"x" * 4096)

        tasks.start_soon(talk)
        answer = await request_upgrade(
            client, h11.Request(method="GET", target="/", headers=[("Host", "h")])
        )
        tasks.cancel_scope.cancel()
    assert answer.status == 500
    assert len(answer.data) < 128 * 1024


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 101 Swit", b"HTTP/1.1 100 Continue\r\n\r\n"],
    ids=["nothing", "half a head", "only an informational one"],
)
async def test_a_server_that_closes_without_an_answer_is_told_from_one_that_refuses(
    answer: bytes,
) -> None:
    with pytest.raises(anyio.EndOfStream):
        await _asked(answer)


async def test_what_is_not_http_is_told_so() -> None:
    with pytest.raises(h11.RemoteProtocolError):
        await _asked(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
