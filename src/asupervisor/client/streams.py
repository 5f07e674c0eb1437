"""Runs a command to its end over a streaming session, with input that is given beforehand."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.client.values import Completed
from asupervisor.errors import DeadlineExceeded, Internal

if TYPE_CHECKING:
    from asupervisor.client.containers import Container
    from asupervisor.streaming.peer import PeerStream

_BLOCK_BYTES = 64 * 1024


Sink = Callable[[bytes], None]
"""Is called with each piece of an output."""


class Kept:
    """The beginning of an output."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.data = bytearray()
        self.is_cut = False

    def write(self, data: bytes) -> None:
        """Keep as much as there is room for."""
        room = self._limit_bytes - len(self.data)
        self.data += data[:room]
        self.is_cut = self.is_cut or len(data) > room


async def run_streamed(
    container: Container,
    command: Sequence[str],
    given: bytes,
    timeout_s: float | None,
    limit_bytes: int,
) -> Completed:
    """Run a command; parameters and errors are those of :meth:`Container.exec`."""
    started = time.monotonic()
    stdout, stderr = Kept(limit_bytes), Kept(limit_bytes)
    with anyio.move_on_after(timeout_s):
        code = await run_with(container, command, io.BytesIO(given), stdout.write, stderr.write)
        return Completed(
            exit_code=code,
            stdout=bytes(stdout.data),
            stderr=bytes(stderr.data),
            duration_s=time.monotonic() - started,
            is_cut=stdout.is_cut or stderr.is_cut,
        )
    raise DeadlineExceeded(
        f"the command ran longer than {timeout_s:g} s", operation="exec", subject=container.id
    )


async def run_with(
    container: Container,
    command: Sequence[str],
    source: IO[bytes] | None,
    stdout: Sink,
    stderr: Sink,
) -> int:
    """Run a command with input from one place and output to others, and return its exit code.

    Raises:
        Internal: it ended without an exit code.
    """
    async with (
        container.open(command, stdin=source is not None) as running,
        BackgroundTasks() as background,
    ):
        if running.stdin is not None and source is not None:
            background.start_soon(_give, running.stdin, source)
        async with anyio.create_task_group() as outputs:
            for stream, sink in ((running.stdout, stdout), (running.stderr, stderr)):
                if stream is not None:
                    outputs.start_soon(_take, stream, sink)
        status = await running.wait()
    if status.exit_code is None:
        raise Internal(status.message, operation="exec", subject=container.id)
    return status.exit_code


async def _give(stream: PeerStream, source: IO[bytes]) -> None:
    with contextlib.suppress(anyio.BrokenResourceError):  # the command reads no more
        while data := source.read(_BLOCK_BYTES):
            await stream.send(data)
        await stream.send_eof()


async def _take(stream: PeerStream, sink: Sink) -> None:
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            sink(await stream.receive())
