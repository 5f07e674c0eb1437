"""A unix socket as a stream: what comes is not lost, and nothing is reported to the loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asupervisor.host.unix_stream import UnixStream
from tests.harness.loops import on_both_loops

pytestmark = on_both_loops


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen(1)
        yield listening


@pytest.fixture
async def both(listener: socket.socket) -> AsyncIterator[tuple[UnixStream, socket.socket]]:
    stream = await UnixStream.connect(listener.getsockname())
    peer, _ = listener.accept()
    with peer:
        yield stream, peer
    await stream.aclose()


async def test_bytes_pass_both_ways_to_their_ends(both: tuple[UnixStream, socket.socket]) -> None:
    stream, peer = both
    text = bytes(range(256)) * 20_000
    came = bytearray()

    async def read() -> None:
        while data := await anyio.to_thread.run_sync(peer.recv, 65536):
            came.extend(data)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await stream.send(text)
        await stream.send_eof()
    assert came == text
    peer.sendall(b"bye")
    peer.close()
    assert await stream.receive() == b"bye"
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()


async def test_a_read_that_is_cancelled_as_bytes_come_loses_and_reports_nothing(
    both: tuple[UnixStream, socket.socket],
) -> None:
    stream, peer = both
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    for number in range(50):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.receive)
            await anyio.wait_all_tasks_blocked()
            peer.sendall(b"%03d" % number)
            tasks.cancel_scope.cancel()
        assert await stream.receive() == b"%03d" % number
    await anyio.lowlevel.checkpoint()
    loop.set_exception_handler(None)
    assert reported == []


async def test_what_came_is_read_after_a_write_that_failed(
    both: tuple[UnixStream, socket.socket],
) -> None:
    stream, peer = both
    peer.sendall(b"the last word")
    peer.close()
    with pytest.raises(anyio.BrokenResourceError):
        await stream.send(b"too late")
    assert await stream.receive() == b"the last word"


async def test_who_waits_is_told_of_the_close(both: tuple[UnixStream, socket.socket]) -> None:
    stream, _ = both

    async def read() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await stream.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await stream.send(b"x")


async def test_a_queue_that_is_full_is_waited_for(listener: socket.socket) -> None:
    address, streams = listener.getsockname(), list[UnixStream]()

    async def connect() -> None:
        streams.append(await UnixStream.connect(address))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):  # more than the backlog
            tasks.start_soon(connect)
        for _ in range(4):
            (await anyio.to_thread.run_sync(listener.accept))[0].close()
    assert len(streams) == 4
    for stream in streams:
        await stream.aclose()


async def test_where_nobody_listens_there_is_no_connection(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await UnixStream.connect(str(tmp_path / "none"))
