"""A port-forward session: pairs of streams from the peer, each joined to a connection inside the
sandbox's network.

A pair, a data stream and an error stream, is one connection. If the connection cannot be made, the
error stream says so; if it breaks later, it is reset. The other connections go on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import anyio
import anyio.abc

from asupervisor.errors import ServiceError
from asupervisor.streaming import spdy
from asupervisor.streaming.backend import Backend
from asupervisor.streaming.loop_turns import turns
from asupervisor.streaming.peer import PeerStream, half_close
from asupervisor.streaming.settings import Settings
from asupervisor.streaming.spdy_session import SpdySession, SpdyStream

READ_BYTES = 64 * 1024


@dataclass(slots=True)
class Pair:
    """The streams of one connection, and its port."""

    port: int
    data: PeerStream
    error: PeerStream


async def forward(
    pair: Pair, pod_sandbox_id: str, backend: Backend, *, peer_half_closes: bool = True
) -> str:
    """Serve one connection until both ends have closed it.

    Args:
        pair: the peer's streams.
        pod_sandbox_id: whose port.
        backend: connects to it.
        peer_half_closes: whether the peer can say that it has sent all; if not, the connection ends
            after the last byte of the remote end.

    Returns:
        Empty if it went well, else what was written to the error stream.
    """
    failure, is_whole = "", False
    try:
        remote = await backend.port_forward(pod_sandbox_id, pair.port)
        async with remote:
            is_whole = await join(pair.data, remote, peer_half_closes=peer_half_closes)
    except anyio.BrokenResourceError:
        pass
    except ServiceError as error:
        failure = f"error forwarding port {pair.port}: {error}"
    with contextlib.suppress(anyio.BrokenResourceError):
        if failure:
            await pair.error.send(failure.encode())
        await pair.error.send_eof()
        if not is_whole:
            # Without a word on the error stream: kubectl would end the whole session for it.
            await pair.data.reset()
    return failure


async def join(
    peer: PeerStream, remote: anyio.abc.ByteStream, *, peer_half_closes: bool = True
) -> bool:
    """Carry bytes in both directions. Each direction ends on its own, if ``peer_half_closes``; if
    one breaks, both end.

    Returns:
        Whether both ends have said that they sent all; False if one of them broke.
    """
    is_whole, turn = True, turns()
    async with anyio.create_task_group() as tasks:

        async def outward() -> None:
            nonlocal is_whole
            try:
                while True:
                    await remote.send(await peer.receive())
            except anyio.EndOfStream:
                await half_close(remote)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                is_whole = False
                tasks.cancel_scope.cancel()

        tasks.start_soon(outward)
        try:
            while True:
                data = await remote.receive(READ_BYTES)
                await turn.take()
                await peer.send(data)
        except anyio.EndOfStream:
            with contextlib.suppress(anyio.BrokenResourceError):
                await peer.send_eof()
            if not peer_half_closes:
                tasks.cancel_scope.cancel()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            is_whole = False
            tasks.cancel_scope.cancel()
    return is_whole


class SpdyForwards:
    """Takes the pairs that a SPDY peer opens, and serves each in a task."""

    def __init__(
        self, session: SpdySession, pod_sandbox_id: str, backend: Backend, settings: Settings
    ) -> None:
        self._session = session
        self._pod_sandbox_id = pod_sandbox_id
        self._backend = backend
        self._settings = settings
        self._halves: dict[str, tuple[SpdyStream, float]] = {}
        """Streams without their other half, by the id of their pair, with the time when they are
        given up; the oldest first."""
        self._came = anyio.Event()
        self._active = 0
        self.served = 0
        """Connections so far."""

    async def serve(self) -> None:
        """Run until the peer is gone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._give_up_late_halves)
            with contextlib.suppress(anyio.EndOfStream):
                while True:
                    self._take(await self._session.accept(), tasks)
            tasks.cancel_scope.cancel()

    def _take(self, stream: SpdyStream, tasks: anyio.abc.TaskGroup) -> None:
        kind, port = stream.headers.get("streamtype"), _port(stream.headers.get("port", ""))
        if kind not in ("data", "error") or port is None:
            self._session.release(stream, spdy.ResetCode.PROTOCOL_ERROR)
            return
        # The oldest clients send no request id; they open the error stream right before its data
        # stream.
        key = (
            stream.headers.get("requestid") or f"#{stream.id if kind == 'error' else stream.id - 2}"
        )
        half = self._halves.get(key)
        if half is None:
            if self._active >= self._settings.forwards:
                self._session.release(stream, spdy.ResetCode.REFUSED_STREAM)
                return
            self._active += 1
            until = anyio.current_time() + self._settings.creation_timeout_s
            self._halves[key] = stream, until
            self._came.set()
            self._session.reply(stream)
            return
        other, _ = half
        if other.headers.get("streamtype") == kind or other.headers.get(
            "port"
        ) != stream.headers.get("port"):
            self._session.release(stream, spdy.ResetCode.PROTOCOL_ERROR)
            return
        del self._halves[key]
        self._session.reply(stream)
        data, error = (stream, other) if kind == "data" else (other, stream)
        tasks.start_soon(self._serve, Pair(port, data, error), data, error)

    async def _serve(self, pair: Pair, data: SpdyStream, error: SpdyStream) -> None:
        try:
            await forward(pair, self._pod_sandbox_id, self._backend)
        finally:
            self.served += 1
            self._active -= 1
            self._session.release(data)
            self._session.release(error)

    async def _give_up_late_halves(self) -> None:
        """Give up streams whose other half does not come in time. This is one task for all, since a
        peer may open hundreds.
        """
        while True:
            if not self._halves:
                self._came = anyio.Event()
                await self._came.wait()
            key, (stream, until) = next(iter(self._halves.items()))
            await anyio.sleep_until(until)
            if self._halves.get(key) == (stream, until):
                del self._halves[key]
                self._active -= 1
                self._session.release(stream)


def _port(text: str) -> int | None:
    return (
        int(text)
        if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535
        else None
    )
