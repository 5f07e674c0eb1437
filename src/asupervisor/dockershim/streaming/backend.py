"""What streaming sessions need of the engine and the node state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.dockershim.container.execs import (
    container_ended,
    exit_code,
    kill_exec,
    told_of_end,
)
from asupervisor.dockershim.preconditions import ready_sandbox, running_container
from asupervisor.dockershim.streaming.start_limiter import StartLimiter
from asupervisor.engine.client import EngineClient
from asupervisor.engine.streams import Hijacked
from asupervisor.errors import FailedPrecondition, ServiceError, Unavailable
from asupervisor.host.processes import network_namespace
from asupervisor.node.records import ContainerId
from asupervisor.node.store import NodeStore
from asupervisor.streaming.backend import Output
from asupervisor.streaming.loopback import connect_loopback
from asupervisor.streaming.requests import AttachRequest, ExecRequest
from asupervisor.translate.stream_frames import STDERR

_RESIZE_TIMEOUT_S = 10.0
_RESIZE_RETRY_S = 0.05
_KILL_TIMEOUT_S = 10.0
_LAST_OUTPUT_S = 1.0


class _Streams:
    """The part that an exec and an attachment have in common.

    The engine does not always close the streams of a command whose container has ended, so they are
    closed here."""

    def __init__(self, stream: Hijacked) -> None:
        self._stream = stream
        self.is_cut = False
        """Whether the streams were ended here, because the container has ended."""

    async def receive(self) -> tuple[Output, bytes]:
        try:
            number, data = await self._stream.receive()
        except Unavailable:
            if self.is_cut:
                raise anyio.EndOfStream from None
            raise
        return (Output.STDERR if number == STDERR else Output.STDOUT), data

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def cut_after(self, ended: anyio.Event) -> None:
        """End the streams a moment after the container, so that its last output still comes."""
        await ended.wait()
        await anyio.sleep(_LAST_OUTPUT_S)
        self.is_cut = True
        await self._stream.cut()


class _Exec(_Streams):
    """A command; see :class:`asupervisor.streaming.backend.Process`."""

    def __init__(
        self, stream: Hijacked, engine: EngineClient, exec_id: str, container: str
    ) -> None:
        super().__init__(stream)
        self._engine = engine
        self._exec_id = exec_id
        self._container = container

    async def resize(self, width: int, height: int) -> None:
        """Size the terminal. The first size often comes before the engine has started the command:
        it is tried again for a while.
        """
        with anyio.move_on_after(_RESIZE_TIMEOUT_S):
            while True:
                try:
                    return await self._engine.streams.resize_exec(
                        self._exec_id, width, height, _RESIZE_TIMEOUT_S
                    )
                except ServiceError:
                    document = await self._engine.streams.inspect_exec(self._exec_id)
                    if document.get("ExitCode") is not None or document.get("Pid"):
                        raise
                await anyio.sleep(_RESIZE_RETRY_S)

    async def wait(self) -> int:
        if self.is_cut:
            raise container_ended(self._container)
        return await exit_code(self._engine, self._exec_id)

    async def kill(self) -> None:
        await kill_exec(self._engine, self._exec_id)

    async def has_started(self) -> bool:
        """Whether the engine is done with the start: the command runs, has run, or never will."""
        try:
            document = await self._engine.streams.inspect_exec(self._exec_id)
        except ServiceError:
            return True
        return bool(document.get("Pid")) or document.get("ExitCode") is not None


class _Attachment(_Streams):
    """A container's own streams; see :class:`asupervisor.streaming.backend.Process`."""

    def __init__(self, stream: Hijacked, engine: EngineClient, container: str) -> None:
        super().__init__(stream)
        self._engine = engine
        self._container = container

    async def resize(self, width: int, height: int) -> None:
        await self._engine.streams.resize_container(
            self._container, width, height, _RESIZE_TIMEOUT_S
        )

    async def wait(self) -> int:
        """The attachment ends without an error, however the container ended."""
        await anyio.lowlevel.checkpoint()
        return 0

    async def kill(self) -> None:
        """Detaching leaves the container alone."""
        await anyio.lowlevel.checkpoint()


class EngineBackend:
    """Starts what streaming sessions ask for; see :class:`asupervisor.streaming.backend.Backend`.

    Args:
        engine: runs it.
        store: says what runs, and where a sandbox's network is.
    """

    def __init__(self, engine: EngineClient, store: NodeStore) -> None:
        self._engine = engine
        self._store = store
        self._starts = StartLimiter()

    @asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[_Exec]:
        """Start a command; see the protocol."""
        place = await self._starts.take()
        try:
            record = running_container(self._store, request.container_id, "exec")
            exec_id = await self._engine.streams.create_exec(
                record.id,
                list(request.command),
                tty=request.tty,
                stdin=request.stdin,
                stdout=request.stdout,
                stderr=request.stderr,
            )
            started = False
            try:
                async with self._engine.streams.start_exec(exec_id, tty=request.tty) as stream:
                    started = True
                    process = _Exec(stream, self._engine, exec_id, record.id)
                    async with self._watched(process, record.id) as background:
                        background.start_soon(place.leave_once, process.has_started)
                        yield process
            finally:
                if not started:  # the engine may have started it nevertheless
                    with anyio.move_on_after(_KILL_TIMEOUT_S, shield=True):
                        await kill_exec(self._engine, exec_id)
        finally:
            place.leave()

    @asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[_Attachment]:
        """Join a container's streams; see the protocol."""
        record = running_container(self._store, request.container_id, "attach")
        async with self._engine.streams.attach(
            record.id,
            tty=record.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        ) as stream:
            process = _Attachment(stream, self._engine, record.id)
            async with self._watched(process, record.id):
                yield process

    @asynccontextmanager
    async def _watched(
        self, process: _Streams, container: ContainerId
    ) -> AsyncIterator[BackgroundTasks]:
        """End a process's streams with its container. Gives the group of their background tasks."""
        ended = anyio.Event()
        with told_of_end(self._store, container, ended.set):
            async with BackgroundTasks() as background:
                background.start_soon(process.cut_after, ended)
                yield background

    async def port_forward(self, pod_sandbox_id: str, port: int) -> anyio.abc.ByteStream:
        """Connect to a sandbox's loopback; see the protocol."""
        record = ready_sandbox(self._store, pod_sandbox_id)
        netns = network_namespace(record.pid, record.id)
        if not netns:
            raise FailedPrecondition(
                f"sandbox {record.id[:12]} has ended; there is no network to connect to",
                subject=record.id,
            )
        return await connect_loopback(netns, port)
