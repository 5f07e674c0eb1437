"""Attach through the whole service."""

from __future__ import annotations

import anyio
import pytest

from asupervisor.proto import cri
from asupervisor.streaming.client import open_command
from asupervisor.streaming.status import ExitStatus
from tests.harness.client import read_all, read_until
from tests.integration.streaming.conftest import Pod

TRANSPORTS = pytest.mark.parametrize("websocket", [False, True], ids=["spdy", "websocket"])


@TRANSPORTS
async def test_several_clients_get_output_from_now_on_and_detaching_keeps_the_container(
    pod: Pod, websocket: bool
) -> None:
    container = await pod.add(
        [
            "sh",
            "-c",
            "echo before; trap 'echo told; echo warned >&2' USR1; while :; do sleep 0.05; done",
        ]
    )

    async def tell() -> None:
        pod.engine.request("POST", f"/containers/{container}/kill?signal=USR1")

    async with pod.runtime() as runtime:
        first, second = [await runtime.attach(container) for _ in range(2)]
        async with open_command(second, websocket=websocket) as staying:
            async with open_command(first, websocket=websocket) as leaving:
                await _until_both(tell, leaving.stdout, staying.stdout)
                assert b"warned" in await read_until(leaving.stderr, b"warned")
            await tell()
            assert b"before" not in await read_until(staying.stdout, b"told")
            assert (await runtime.container_status(container)).status.state == cri.CONTAINER_RUNNING
            await runtime.stop_container(container, 0)
            await read_all(staying.stdout)
            assert await staying.wait() == ExitStatus(0)


async def _until_both(tell: object, *streams: object) -> None:
    """An attachment stands a moment after its session: make output until each has some."""
    assert callable(tell)
    async with anyio.create_task_group() as tasks:

        async def repeat() -> None:
            while True:
                await tell()
                await anyio.sleep(0.2)

        tasks.start_soon(repeat)
        for stream in streams:
            await read_until(stream, b"told")  # type: ignore[arg-type]
        tasks.cancel_scope.cancel()


@TRANSPORTS
async def test_stdin_reaches_the_container_and_with_stdin_once_its_end_ends_it(
    pod: Pod, websocket: bool
) -> None:
    container = await pod.add(
        ["sh", "-c", "while read line; do echo got $line; done; echo end"],
        stdin=True,
        stdin_once=True,
    )
    async with pod.runtime() as runtime:
        url = await runtime.attach(container, stdin=True)
        async with open_command(url, stdin=True, websocket=websocket) as command:
            assert command.stdin is not None
            await command.stdin.send(b"one\n")
            await read_until(command.stdout, b"got one")
            await command.stdin.send_eof()
            assert b"end" in await read_all(command.stdout)
            assert await command.wait() == ExitStatus(0)
        while (await runtime.container_status(container)).status.state != cri.CONTAINER_EXITED:  # noqa: ASYNC110
            await anyio.sleep(0.02)


@TRANSPORTS
async def test_a_containers_terminal_is_resized(pod: Pod, websocket: bool) -> None:
    container = await pod.add(["sh"], stdin=True, tty=True)
    async with pod.runtime() as runtime:
        url = await runtime.attach(container, tty=True, stdin=True, stderr=False)
    async with open_command(url, tty=True, stdin=True, websocket=websocket) as command:
        assert command.stdin is not None
        await command.resize(99, 33)
        while True:
            await command.stdin.send(b"stty size; echo siz''ed\n")
            if b"33 99" in await read_until(command.stdout, b"sized"):
                break
