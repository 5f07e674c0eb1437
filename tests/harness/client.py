"""Small steps on the client's end of a streaming session."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from asupervisor.streaming.client import RemoteCommand, open_command
from asupervisor.streaming.peer import PeerStream
from asupervisor.streaming.status import ExitStatus


async def read_all(stream: PeerStream | None) -> bytes:
    """Everything until the end."""
    assert stream is not None
    parts: list[bytes] = []
    try:
        while True:
            parts.append(await stream.receive())
    except anyio.EndOfStream:
        return b"".join(parts)


async def read_until(stream: PeerStream | None, word: bytes) -> bytes:
    """Everything up to and with the piece in which ``word`` ends."""
    assert stream is not None
    text = b""
    while word not in text:
        text += await stream.receive()
    return text


@dataclass
class Result:
    """What a command gave."""

    protocol: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    status: ExitStatus = ExitStatus(None, "not run")  # noqa: RUF009 (frozen)


async def run_command(
    url: str,
    *,
    given: bytes | None = None,
    tty: bool = False,
    websocket: bool = False,
    protocols: list[str] | None = None,
) -> Result:
    """Run an exec URL to its end with ``given`` as its stdin."""
    result = Result()
    async with open_command(
        url, stdin=given is not None, tty=tty, websocket=websocket, protocols=protocols
    ) as command:
        result.protocol = command.protocol
        async with anyio.create_task_group() as tasks:
            if given is not None:
                tasks.start_soon(_give, command, given)

            async def take_errors() -> None:
                result.stderr = await read_all(command.stderr)

            if not tty:
                tasks.start_soon(take_errors)
            result.stdout = await read_all(command.stdout)
        result.status = await command.wait()
    return result


async def _give(command: RemoteCommand, given: bytes) -> None:
    assert command.stdin is not None
    try:
        await command.stdin.send(given)
        await command.stdin.send_eof()
    except anyio.BrokenResourceError:
        return
