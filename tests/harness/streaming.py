"""A streaming backend of the tests' own machine: commands are local processes, ports are those of
the loopback.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import anyio.abc

from asupervisor.errors import NotFound, Unavailable
from asupervisor.streaming.backend import Output
from asupervisor.streaming.requests import AttachRequest, ExecRequest


class LocalProcess:
    """A process in a group of its own, on pipes or on a terminal."""

    def __init__(
        self,
        process: anyio.abc.Process,
        request: ExecRequest,
        terminal: anyio.abc.ByteStream | None,
        master: int,
    ) -> None:
        self._process = process
        self._terminal = terminal
        self._master = master
        self.sizes: list[tuple[int, int]] = []
        self.killed = False
        self._send, self._receive = anyio.create_memory_object_stream[tuple[Output, bytes]](0)

    async def pump(self, source: Output, stream: anyio.abc.ByteReceiveStream, into: object) -> None:
        async with self._send.clone() as send:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, OSError):
                while True:
                    await send.send((source, await stream.receive(65536)))

    def started(self) -> None:
        self._send.close()

    async def receive(self) -> tuple[Output, bytes]:
        return await self._receive.receive()

    async def send(self, data: bytes) -> None:
        target = self._terminal or self._process.stdin
        if target is None:
            raise anyio.BrokenResourceError
        try:
            await target.send(data)
        except (anyio.ClosedResourceError, OSError) as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        if self._process.stdin is not None:
            await self._process.stdin.aclose()

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))
        if self._master >= 0:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def wait(self) -> int:
        return await self._process.wait()

    async def kill(self) -> None:
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


@dataclass
class LocalBackend:
    """Starts local processes; ``processes`` and ``attachments`` are those of all sessions so
    far.
    """

    processes: list[LocalProcess] = field(default_factory=list)
    forwards: int = 0

    @contextlib.asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[LocalProcess]:
        if request.container_id == "gone":
            raise NotFound("no such container: gone")
        async with self._started(request, request.command) as process:
            yield process

    @contextlib.asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[LocalProcess]:
        stand_in = ExecRequest(
            container_id=request.container_id,
            command=("cat",),
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        async with self._started(stand_in, stand_in.command) as process:
            yield process

    @contextlib.asynccontextmanager
    async def _started(
        self, request: ExecRequest, command: tuple[str, ...]
    ) -> AsyncIterator[LocalProcess]:
        master, terminal = -1, None
        if request.tty:
            master, slave = pty.openpty()
            os.set_blocking(master, False)
            try:
                process = await anyio.open_process(
                    command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
                )
            finally:
                os.close(slave)
            terminal = _Descriptor(master)
        else:
            try:
                process = await anyio.open_process(
                    command,
                    stdin=subprocess.PIPE if request.stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if request.stdout else subprocess.DEVNULL,
                    stderr=subprocess.PIPE if request.stderr else subprocess.DEVNULL,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise NotFound(f"{command[0]}: no such command") from error
        local = LocalProcess(process, request, terminal, master)
        self.processes.append(local)
        try:
            async with anyio.create_task_group() as tasks:
                if terminal is not None:
                    tasks.start_soon(local.pump, Output.STDOUT, terminal, None)
                if process.stdout is not None:
                    tasks.start_soon(local.pump, Output.STDOUT, process.stdout, None)
                if process.stderr is not None:
                    tasks.start_soon(local.pump, Output.STDERR, process.stderr, None)
                await anyio.lowlevel.checkpoint()
                local.started()
                yield local
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await process.aclose()
                local._send.close()
                local._receive.close()
            if master >= 0:
                os.close(master)

    async def port_forward(self, pod_sandbox_id: str, port: int) -> anyio.abc.ByteStream:
        self.forwards += 1
        try:
            return await anyio.connect_tcp("127.0.0.1", port)
        except OSError as error:
            raise Unavailable(f"nothing listens on port {port}") from error


class _Descriptor(anyio.abc.ByteStream):
    """A terminal's master end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            await anyio.wait_readable(self._descriptor)
            try:
                data = os.read(self._descriptor, max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:  # EIO: the last slave is closed
                raise anyio.EndOfStream from error
            if not data:
                raise anyio.EndOfStream
            return data

    async def send(self, item: bytes) -> None:
        while item:
            await anyio.wait_writable(self._descriptor)
            item = item[os.write(self._descriptor, item) :]

    async def send_eof(self) -> None:
        await self.send(b"\x04")

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
