"""The client's end of exec, attach and port-forward, over SPDY or WebSocket."""

from __future__ import annotations

import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.abc

from asupervisor.background_tasks import farewell
from asupervisor.errors import DeadlineExceeded, Unavailable
from asupervisor.streaming import channels, spdy
from asupervisor.streaming.channel_session import ChannelSession, ChannelStream
from asupervisor.streaming.dial import UPGRADE_TIMEOUT_S, Upgraded, upgrade
from asupervisor.streaming.negotiation import (
    COMMAND_CHANNELS,
    COMMAND_VERSIONS,
    PORT_CHANNELS,
    PORT_FORWARD,
    TUNNEL,
)
from asupervisor.streaming.peer import PeerStream
from asupervisor.streaming.spdy_session import SpdySession, SpdyStream
from asupervisor.streaming.status import MAX_STATUS_BYTES, ExitStatus, decode_status
from asupervisor.streaming.terminal import encode_size
from asupervisor.streaming.websocket import WebSocket, WebSocketByteStream

__all__ = [
    "Forwarded",
    "PortForwarder",
    "RemoteCommand",
    "open_command",
    "open_port_channels",
    "open_port_forward",
]

_FAREWELL_S = 2.0
_LIMITS = spdy.Limits(streams=16)  # a server opens no streams


@dataclass(slots=True, kw_only=True)
class RemoteCommand:
    """A session that runs.

    Args:
        protocol: what the server chose.
        version: of the remote command protocol, 1 to 5.
        stdin: to write to, if it was asked for; ``send_eof`` closes it, if the protocol can.
        stdout: to read from, until :class:`anyio.EndOfStream`; or until
            :class:`anyio.BrokenResourceError`, if the WebSocket was not closed in order, or another
            server resets its streams at the end, as cri-dockerd does.
        stderr: the same for error output.
    """

    protocol: str
    version: int
    stdin: PeerStream | None = None
    stdout: PeerStream | None = None
    stderr: PeerStream | None = None
    _error: PeerStream | None = None
    _resize: PeerStream | None = None

    async def resize(self, width: int, height: int) -> None:
        """Send the size of the terminal, in characters; without a terminal do nothing."""
        if self._resize is not None:
            with contextlib.suppress(anyio.BrokenResourceError):
                await self._resize.send(encode_size(width, height))

    async def wait(self) -> ExitStatus:
        """Wait for its end, and return how it ended. The output has to be read meanwhile."""
        assert self._error is not None
        raw = b""
        try:
            while len(raw) <= MAX_STATUS_BYTES:
                raw += await self._error.receive()
        except anyio.EndOfStream:
            pass
        except anyio.BrokenResourceError as error:
            if not raw:
                return ExitStatus(None, f"the connection ended without a status: {error}")
        return decode_status(raw, self.version)


@contextlib.asynccontextmanager
async def open_command(  # noqa: PLR0913 - options given by name; long: one for each transport
    url: str,
    *,
    tty: bool = False,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    websocket: bool = False,
    protocols: Sequence[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[RemoteCommand]:
    """Open an exec or attach session; leaving the context ends it.

    Args:
        url: as the CRI gave it.
        tty: whether the request asked for a terminal.
        stdin: whether it asked for stdin.
        stdout: whether it asked for stdout.
        stderr: whether it asked for stderr.
        websocket: WebSocket instead of SPDY.
        protocols: to offer, the best first. Without it all are offered, except those that cannot
            close stdin, if that is needed: with stdin and without a terminal.
        ssl_context: for ``https``.

    Raises:
        ServiceError: as :func:`asupervisor.streaming.dial.upgrade` does; Unavailable if the server
            drops the session at once.
    """
    kinds = [
        name
        for name, wanted in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr and not tty))
        if wanted
    ]
    if protocols is None:
        protocols = _known_channels(stdin and not tty) if websocket else list(COMMAND_VERSIONS)
    if websocket:
        async with (
            _upgraded(url, protocols, websocket, ssl_context) as upgraded,
            _channel_command(upgraded, kinds, tty) as command,
        ):
            yield command
        return
    async with (
        _upgraded(url, protocols, websocket, ssl_context) as upgraded,
        SpdySession(upgraded.stream, spdy.Role.CLIENT, _LIMITS, upgraded.received) as session,
        farewell(session.goodbye, _FAREWELL_S),
    ):
        session.connection.send_settings()
        command = RemoteCommand(
            protocol=upgraded.protocol, version=COMMAND_VERSIONS.get(upgraded.protocol, 1)
        )
        streams = {name: session.open({"streamtype": name}) for name in ("error", *kinds)}
        if tty and command.version >= 3:
            streams["resize"] = session.open({"streamtype": "resize"})
        await _replies(list(streams.values()))
        command.stdin, command.stdout = streams.get("stdin"), streams.get("stdout")
        command.stderr, command._resize = streams.get("stderr"), streams.get("resize")
        command._error = streams["error"]
        yield command


def _known_channels(needs_end: bool) -> list[str]:
    """The protocols that are offered over WebSocket. A command that reads its input to the end, as
    ``cat`` does, needs one that can close stdin; on a terminal a key ends the input.
    """
    return [
        each.name
        for each in COMMAND_CHANNELS.values()
        if each.name and (each.closes_channels or not needs_end)
    ]


@contextlib.asynccontextmanager
async def _channel_command(
    upgraded: Upgraded, kinds: Sequence[str], tty: bool
) -> AsyncIterator[RemoteCommand]:
    protocol = COMMAND_CHANNELS[upgraded.protocol]
    async with (
        WebSocket(upgraded.stream, client=True, received=upgraded.received) as websocket,
        ChannelSession(
            websocket,
            protocol,
            readable=(channels.STDOUT, channels.STDERR, channels.ERROR),
            writable=(channels.STDIN, channels.RESIZE),
            client=True,
        ) as session,
        farewell(session.goodbye, _FAREWELL_S),
    ):
        command = RemoteCommand(protocol=upgraded.protocol, version=protocol.version)
        streams = session.streams
        command.stdin = streams[channels.STDIN] if "stdin" in kinds else None
        command.stdout = streams[channels.STDOUT] if "stdout" in kinds else None
        command.stderr = streams[channels.STDERR] if "stderr" in kinds else None
        command._resize = streams[channels.RESIZE] if tty else None
        command._error = streams[channels.ERROR]
        yield command


@dataclass(slots=True)
class Forwarded:
    """One connection through a port-forward; ``data`` carries its bytes."""

    data: PeerStream
    _error: PeerStream

    async def failure(self) -> str:
        """The server's error; empty once the connection has ended without one."""
        text = b""
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while len(text) <= MAX_STATUS_BYTES:
                text += await self._error.receive()
        return text.decode(errors="replace")


@dataclass(slots=True)
class PortForwarder:
    """Opens connections to a sandbox's ports through one SPDY connection, tunnelled or not."""

    _session: SpdySession
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def ended(self) -> anyio.Event:
        """Set when the server is gone."""
        return self._session.ended

    @contextlib.asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Forwarded]:
        """Open a connection to ``port``; leaving the context closes it.

        Raises:
            Unavailable: the server takes no more, or is gone.
        """
        headers = {"port": str(port), "requestid": str(next(self._ids))}
        opened: list[SpdyStream] = []
        try:
            try:
                for kind in ("error", "data"):
                    opened.append(self._session.open({"streamtype": kind, **headers}))
            except anyio.BrokenResourceError as error:
                raise Unavailable(str(error)) from error
            await _replies(opened)
            error_stream, data = opened
            await error_stream.send_eof()
            yield Forwarded(data, error_stream)
        finally:
            for stream in opened:
                self._session.release(stream)


@contextlib.asynccontextmanager
async def open_port_forward(
    url: str, *, websocket: bool = False, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[PortForwarder]:
    """Open a port-forward session in SPDY; leaving the context ends it and its connections.

    Args:
        url: as the CRI gave it.
        websocket: tunnel the SPDY connection in a WebSocket.
        ssl_context: for ``https``.

    Raises:
        ServiceError: as :func:`asupervisor.streaming.dial.upgrade` does.
    """
    protocols = [TUNNEL] if websocket else [PORT_FORWARD]
    async with contextlib.AsyncExitStack() as stack:
        upgraded = await stack.enter_async_context(
            _upgraded(url, protocols, websocket, ssl_context)
        )
        stream, received = upgraded.stream, upgraded.received
        if websocket:
            tunnel = await stack.enter_async_context(
                WebSocket(stream, client=True, received=received)
            )
            await stack.enter_async_context(farewell(tunnel.close, _FAREWELL_S))
            stream, received = WebSocketByteStream(tunnel), b""
        session = await stack.enter_async_context(
            SpdySession(stream, spdy.Role.CLIENT, _LIMITS, received)
        )
        session.connection.send_settings()
        session.push()
        async with farewell(session.goodbye, _FAREWELL_S):
            yield PortForwarder(session)


@contextlib.asynccontextmanager
async def open_port_channels(
    url: str,
    ports: Sequence[int],
    *,
    protocols: Sequence[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[list[Forwarded]]:
    """Open one connection to each of ``ports``, which the request named too, by WebSocket channels.

    Args:
        url: as the CRI gave it.
        ports: the request's ports, in its order.
        protocols: to offer, the best first; without it all are offered.
        ssl_context: for ``https``.

    Raises:
        ServiceError: as :func:`asupervisor.streaming.dial.upgrade` does; Unavailable if the server
            does not open the ports' channels.
    """
    if protocols is None:
        protocols = list(filter(None, PORT_CHANNELS))
    everything = range(2 * len(ports))
    async with (
        _upgraded(url, protocols, True, ssl_context) as upgraded,
        WebSocket(upgraded.stream, client=True, received=upgraded.received) as websocket,
        ChannelSession(
            websocket,
            PORT_CHANNELS[upgraded.protocol],
            readable=everything,
            writable=everything[::2],
            client=True,
        ) as session,
        farewell(session.goodbye, _FAREWELL_S),
    ):
        for index, port in enumerate(ports):
            await _port_announced(session.streams[2 * index], port)
            await _port_announced(session.streams[2 * index + 1], port)
        yield [
            Forwarded(session.streams[2 * index], session.streams[2 * index + 1])
            for index in range(len(ports))
        ]


async def _port_announced(stream: ChannelStream, port: int) -> None:
    """Read the two bytes that open a channel, and put back what came after them."""
    try:
        with anyio.fail_after(UPGRADE_TIMEOUT_S):
            data = await stream.receive()
            while len(data) < 2:
                data += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError, TimeoutError) as error:
        raise Unavailable(f"the server did not open the channel of port {port}") from error
    if int.from_bytes(data[:2], "little") != port:
        raise Unavailable(f"the server opened a channel for another port than {port}")
    if len(data) > 2:
        stream.inbox.unread(data[2:])


@contextlib.asynccontextmanager
async def _upgraded(
    url: str, protocols: Sequence[str], websocket: bool, ssl_context: ssl.SSLContext | None
) -> AsyncIterator[Upgraded]:
    upgraded = await upgrade(url, protocols, websocket=websocket, ssl_context=ssl_context)
    try:
        yield upgraded
    finally:
        await anyio.aclose_forcefully(upgraded.stream)


async def _replies(streams: Sequence[SpdyStream]) -> None:
    try:
        with anyio.fail_after(UPGRADE_TIMEOUT_S):
            for stream in streams:
                await stream.replied.wait()
    except TimeoutError as error:
        raise DeadlineExceeded("the server did not take the streams in time") from error
    if not all(stream.accepted for stream in streams):
        raise Unavailable("the server refused a stream")
