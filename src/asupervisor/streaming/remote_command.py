"""An exec or attach session: the peer's streams on one side, a process on the other.

All tasks of a session are in one task group, which ends with the process or with the peer,
whichever is first. If the peer is first, a command is ended with all its processes; a container
that was attached to goes on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import anyio

from asupervisor.background_tasks import BackgroundTasks, cancel_when
from asupervisor.errors import ServiceError
from asupervisor.streaming.backend import Backend, Output, Process
from asupervisor.streaming.loop_turns import turns
from asupervisor.streaming.peer import PeerStream
from asupervisor.streaming.requests import AttachRequest, ExecRequest
from asupervisor.streaming.settings import Settings
from asupervisor.streaming.status import ExitStatus, encode_status
from asupervisor.streaming.terminal import SizeDecoder


@dataclass(slots=True)
class CommandStreams:
    """The streams that a peer has opened for a session.

    Args:
        version: of the remote command protocol, 1 to 5.
        ended: set when the peer is gone.
        error: gets the exit status.
        stdin: what the process reads, if anything.
        stdout: where its output goes, if anywhere.
        stderr: where its error output goes, if anywhere.
        resize: gives terminal sizes, if it has a terminal.
    """

    version: int
    ended: anyio.Event
    error: PeerStream | None = None
    stdin: PeerStream | None = None
    stdout: PeerStream | None = None
    stderr: PeerStream | None = None
    resize: PeerStream | None = None


async def serve_command(
    streams: CommandStreams,
    request: ExecRequest | AttachRequest,
    backend: Backend,
    settings: Settings,
) -> ExitStatus:
    """Run a session to its end, and send the exit status to the peer.

    Returns:
        The same status, for the log; its message is ``client disconnected`` if the peer was first.
    """
    status = ExitStatus(None, "client disconnected")
    with anyio.CancelScope() as scope:
        async with BackgroundTasks() as background:
            background.start_soon(cancel_when, streams.ended, scope)
            try:
                status = ExitStatus(await _run(streams, request, backend, settings))
            except ServiceError as error:
                status = ExitStatus(None, str(error))
    with contextlib.suppress(anyio.BrokenResourceError):
        await _finish(streams, status)
    return status


async def _run(
    streams: CommandStreams,
    request: ExecRequest | AttachRequest,
    backend: Backend,
    settings: Settings,
) -> int:
    turn = turns()
    await turn.take()
    opened = backend.exec(request) if isinstance(request, ExecRequest) else backend.attach(request)
    async with opened as process:
        exit_code: int | None = None
        try:
            async with BackgroundTasks() as background:
                if streams.stdin is not None:
                    background.start_soon(_pump_stdin, streams.stdin, process)
                if streams.resize is not None:
                    background.start_soon(_pump_sizes, streams.resize, process)
                await _pump_output(streams, process)
                await turn.take()
                exit_code = await process.wait()
        finally:
            if exit_code is None:
                with anyio.move_on_after(settings.kill_timeout_s, shield=True):
                    await process.kill()
        return exit_code


async def _pump_stdin(stream: PeerStream, process: Process) -> None:
    """Carry stdin. If the process does not read it any more, it is still read from the peer and
    dropped, so that the peer's other streams go on.
    """
    try:
        while True:
            await process.send(await stream.receive())
    except anyio.EndOfStream:
        with contextlib.suppress(anyio.BrokenResourceError):
            await process.send_eof()
    except anyio.BrokenResourceError:
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await stream.receive()


async def _pump_sizes(stream: PeerStream, process: Process) -> None:
    decoder = SizeDecoder()
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            sizes = decoder.feed(await stream.receive())
            if sizes:
                # If the runtime refuses a size, the session goes on.
                with contextlib.suppress(ServiceError):
                    await process.resize(*sizes[-1])


async def _pump_output(streams: CommandStreams, process: Process) -> None:
    """Carry output until its end; output that the peer does not want is dropped."""
    turn = turns()
    targets = {Output.STDOUT: streams.stdout, Output.STDERR: streams.stderr}
    with contextlib.suppress(anyio.EndOfStream):
        while True:
            source, data = await process.receive()
            await turn.take()
            target = targets[source]
            if target is None:
                continue
            try:
                await target.send(data)
            except anyio.BrokenResourceError:
                targets[source] = None


async def _finish(streams: CommandStreams, status: ExitStatus) -> None:
    for stream in (streams.stdout, streams.stderr):
        if stream is not None:
            await stream.send_eof()
    if streams.error is not None:
        text = encode_status(status, streams.version)
        if text:
            await streams.error.send(text)
        await streams.error.send_eof()
