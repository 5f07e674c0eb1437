"""Serves a session after its upgrade: collects the peer's streams, serves them, and ends the
session when it is idle for too long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio

from asupervisor.background_tasks import BackgroundTasks, cancel_when, farewell
from asupervisor.streaming import channels, spdy
from asupervisor.streaming.backend import Backend
from asupervisor.streaming.channel_session import ChannelSession
from asupervisor.streaming.negotiation import Choice, Refused
from asupervisor.streaming.port_forward import Pair, SpdyForwards, forward
from asupervisor.streaming.remote_command import CommandStreams, serve_command
from asupervisor.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest, Request
from asupervisor.streaming.settings import Settings
from asupervisor.streaming.spdy_session import SpdySession
from asupervisor.streaming.status import ExitStatus
from asupervisor.streaming.websocket import WebSocket

RESIZE_VERSION = 3
"""The first version of the remote command protocol with a resize stream over SPDY."""
BASE64_CHANNELS = 10
"""Channels that one digit can name."""
BINARY_CHANNELS = 256


def check_ports(choice: Choice, request: PortForwardRequest) -> None:
    """Refuse a port-forward that the chosen channels cannot carry; to be called before the upgrade.

    Raises:
        Refused: 400: the request named no port, or more than there are channels for.
    """
    if choice.channels is None:
        return
    most = (BASE64_CHANNELS if choice.channels.base64 else BINARY_CHANNELS) // 2
    if not 1 <= len(request.ports) <= most:
        raise Refused(
            400, f"between 1 and {most} ports are needed; the request named {len(request.ports)}"
        )


async def serve_spdy(
    session: SpdySession, choice: Choice, request: Request, backend: Backend, settings: Settings
) -> str:
    """Serve one SPDY connection. Returns how it went, for the log."""

    async def work() -> str:
        if isinstance(request, PortForwardRequest):
            forwards = SpdyForwards(session, request.pod_sandbox_id, backend, settings)
            await forwards.serve()
            return f"{forwards.served} connections"
        streams = await _collect(session, choice, request, settings)
        if streams is None:
            ended = session.ended.is_set()
            return "client disconnected" if ended else "the streams were not opened in time"
        async with BackgroundTasks() as background:
            background.start_soon(_refuse_more, session)
            return _outcome(await serve_command(streams, request, backend, settings))

    return await _until_idle(session, work, settings)


async def serve_channels(
    websocket: WebSocket, choice: Choice, request: Request, backend: Backend, settings: Settings
) -> str:
    """Serve one WebSocket connection with a channel protocol. Returns how it went, for the log."""
    assert choice.channels is not None
    if isinstance(request, PortForwardRequest):
        readable: set[int] = {2 * index for index in range(len(request.ports))}
        writable: set[int] = set(range(2 * len(request.ports)))
    else:
        readable = {channels.STDIN} if request.stdin else set()
        readable |= {channels.RESIZE} if request.tty else set()
        writable = {channels.ERROR}
        writable |= {channels.STDOUT} if request.stdout else set()
        writable |= {channels.STDERR} if request.stderr else set()
    async with (
        ChannelSession(
            websocket,
            choice.channels,
            readable=readable,
            writable=writable,
            buffer_bytes=settings.buffer_bytes,
        ) as session,
        farewell(session.goodbye, settings.farewell_timeout_s),
    ):

        async def work() -> str:
            if isinstance(request, PortForwardRequest):
                return await _forward_channels(session, request, backend)
            # Clients wait for a first, empty message as the sign that the session has begun.
            session.put(min(writable), b"")
            streams = CommandStreams(
                version=choice.version,
                ended=session.ended,
                error=session.streams.get(channels.ERROR),
                stdin=session.streams.get(channels.STDIN),
                stdout=session.streams.get(channels.STDOUT),
                stderr=session.streams.get(channels.STDERR),
                resize=session.streams.get(channels.RESIZE),
            )
            return _outcome(await serve_command(streams, request, backend, settings))

        return await _until_idle(session, work, settings)


async def _collect(
    session: SpdySession, choice: Choice, request: ExecRequest | AttachRequest, settings: Settings
) -> CommandStreams | None:
    """Wait for the streams that the request needs; None if they do not come in time."""
    expected = {"error"}
    expected |= {name for name in ("stdin", "stdout", "stderr") if getattr(request, name)}
    expected |= {"resize"} if request.tty and choice.version >= RESIZE_VERSION else set()
    streams = CommandStreams(version=choice.version, ended=session.ended)
    with anyio.move_on_after(settings.creation_timeout_s):
        while expected:
            try:
                stream = await session.accept()
            except anyio.EndOfStream:
                return None
            kind = stream.headers.get("streamtype", "")
            if kind not in expected:
                session.release(stream, spdy.ResetCode.REFUSED_STREAM)
                continue
            expected.discard(kind)
            setattr(streams, kind, stream)
            session.reply(stream)
        return streams
    return None


async def _refuse_more(session: SpdySession) -> None:
    with suppress(anyio.EndOfStream):
        while True:
            session.release(await session.accept(), spdy.ResetCode.REFUSED_STREAM)


async def _forward_channels(
    session: ChannelSession, request: PortForwardRequest, backend: Backend
) -> str:
    with anyio.CancelScope() as scope:
        async with BackgroundTasks() as background, anyio.create_task_group() as pairs:
            background.start_soon(cancel_when, session.ended, scope)
            for index, port in enumerate(request.ports):
                pair = Pair(port, session.streams[2 * index], session.streams[2 * index + 1])
                for channel in (2 * index, 2 * index + 1):
                    session.put(channel, port.to_bytes(2, "little"))
                # Channels have no half-close: when the pod has sent all, the connection is over.
                served = partial(
                    forward, pair, request.pod_sandbox_id, backend, peer_half_closes=False
                )
                pairs.start_soon(served)
    return f"{len(request.ports)} connections"


async def _until_idle(
    session: SpdySession | ChannelSession, work: Callable[[], Awaitable[str]], settings: Settings
) -> str:
    outcome = ""
    with anyio.CancelScope() as scope:
        async with BackgroundTasks() as background:
            background.start_soon(_cancel_when_idle, session, settings.idle_timeout_s, scope)
            outcome = await work()
    if scope.cancelled_caught:
        outcome = "idle for too long"
    return f"protocol violation: {session.violation}" if session.violation else outcome


async def _cancel_when_idle(
    session: SpdySession | ChannelSession, timeout_s: float, scope: anyio.CancelScope
) -> None:
    """Pings do not count as data: many clients ping all the time. 0, as in kubelet's configuration,
    means no limit.
    """
    if timeout_s <= 0:
        return
    while (left := session.last_data + timeout_s - anyio.current_time()) > 0:  # noqa: ASYNC110 (every byte would set an event)
        await anyio.sleep(left)
    scope.cancel()


def _outcome(status: ExitStatus) -> str:
    return f"exit code {status.exit_code}" if status.exit_code is not None else status.message
