"""What a pod answers to a probe is a failure at most."""

from __future__ import annotations

from typing import cast

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from asupervisor.client.containers import Container
from asupervisor.client.manifest.actions import HttpGet
from asupervisor.client.manifest.hooks import run_pre_stop
from asupervisor.client.manifest.perform import failure_of
from asupervisor.listening import serve

NO_CONTAINER = cast(Container, None)  # a request needs none


async def failure(answer: bytes, *further: bytes, path: str = "/") -> str:
    """Of a request that a pod answers so, and further ones that follow it."""
    answers = iter((answer, *further))

    async def reply(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(next(answers))

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(serve, listener, "a pod", reply)
        port = listener.extra(SocketAttribute.local_port)
        action = HttpGet(port=port, host="", path=path, scheme="HTTP", headers=())
        failed = await failure_of(action, NO_CONTAINER, "127.0.0.1", 60.0)
        tasks.cancel_scope.cancel()
    return failed


@pytest.mark.parametrize(
    "answer", ["200 fine", "399 odd", "302 elsewhere\r\nLocation: http://192.0.2.1/"]
)
async def test_these_are_successes(answer: str) -> None:
    assert await failure(f"HTTP/1.1 {answer}\r\n\r\n".encode()) == ""


async def test_a_redirect_to_the_same_host_is_followed() -> None:
    to_other = b"HTTP/1.1 302 x\r\nLocation: /other\r\n\r\n"
    assert await failure(to_other, b"HTTP/1.1 200 fine\r\n\r\n") == ""
    failed = await failure(to_other, to_other, b"HTTP/1.1 404 none\r\n\r\n")
    assert failed.endswith("/other: HTTP status 404")
    assert await failure(*[to_other] * 10) == "stopped after 10 redirects"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 bad\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: http://[x\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:99999999/\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:x/\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: /\xff\xfe\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x00" * 100,
        b"",
    ],
)
async def test_these_are_failures_and_nothing_worse(answer: bytes) -> None:
    assert await failure(answer) != ""


@pytest.mark.parametrize("path", ["/a\r\nb: c", "/\u00e4", "/a b"])
async def test_a_path_that_is_none_is_a_failure(path: str) -> None:
    assert await failure(b"HTTP/1.1 200 fine\r\n\r\n", path=path) != ""


@pytest.mark.parametrize("document", ["[" * 100_000, "{", "[]", "null", '{"exec": 5}'])
async def test_an_annotation_that_is_no_hook_keeps_nothing_from_being_stopped(
    document: str,
) -> None:
    class Named:
        name = "main"

    left_s = await run_pre_stop(cast(Container, Named()), document, "127.0.0.1", 30)
    assert 0 < left_s <= 30
