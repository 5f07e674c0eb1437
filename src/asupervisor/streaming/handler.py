"""Serves one connection: its request, token, negotiation, session and log line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from asupervisor.admission import Admission, Guest, peer_address
from asupervisor.background_tasks import farewell
from asupervisor.errors import NotFound
from asupervisor.host.heap import Heap
from asupervisor.streaming import spdy
from asupervisor.streaming.backend import Backend
from asupervisor.streaming.http import HttpConnection, HttpRequest, websocket_answer
from asupervisor.streaming.loop_turns import turns
from asupervisor.streaming.negotiation import (
    PROTOCOL_HEADER,
    Choice,
    Refused,
    choose_spdy,
    choose_websocket,
)
from asupervisor.streaming.peer import half_close
from asupervisor.streaming.requests import PortForwardRequest, Request
from asupervisor.streaming.session import check_ports, serve_channels, serve_spdy
from asupervisor.streaming.settings import Settings
from asupervisor.streaming.spdy_session import SpdySession
from asupervisor.streaming.tokens import TokenCache
from asupervisor.streaming.websocket import WebSocket, WebSocketByteStream

_access = logging.getLogger("asupervisor.streaming.access")

VERBS = ("exec", "attach", "portforward")

SessionObserver = Callable[[str], AbstractContextManager[None]]


def not_counted(verb: str) -> AbstractContextManager[None]:
    """An observer that does not count."""
    return contextlib.nullcontext()


@dataclass(slots=True, eq=False)
class Visit:
    """What the access log says about a connection; the token is not in it."""

    peer: str
    method: str = "-"
    verb: str = "-"
    subject: str = "-"
    status: int = 0
    protocol: str = "-"
    outcome: str = "-"
    started: float = 0.0
    is_session: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class StreamHandler:
    """Serves streaming connections, wherever they were accepted. The arguments are those of
    :class:`asupervisor.streaming.server.StreamingService`.
    """

    def __init__(
        self,
        tokens: TokenCache,
        backend: Backend,
        settings: Settings | None = None,
        observe: SessionObserver = not_counted,
    ) -> None:
        self._tokens = tokens
        self._backend = backend
        self._settings = settings or Settings()
        self._observe = observe
        self._admission = Admission(self._settings.waiting, self._settings.waiting_per_peer)
        self._visits: set[Visit] = set()
        self._sessions = 0
        self._closing = False
        self._left = anyio.Event()
        self._heap = Heap()

    @property
    def active(self) -> int:
        """Connections now."""
        return len(self._visits)

    def admit(self, stream: anyio.abc.ByteStream) -> AbstractContextManager[Guest]:
        """Count an accepted connection, before its first byte is read; the context gives the
        ``guest`` for :meth:`serve`.
        """
        return self._admission.enter(peer_address(stream)[0])

    async def serve(
        self,
        stream: anyio.abc.ByteStream,
        *,
        received: bytes = b"",
        peer: str = "",
        guest: Guest | None = None,
    ) -> None:
        """Serve one connection to its end and close it.

        Args:
            stream: the connection, just accepted.
            received: bytes of it that the caller has read already, such as to see that it is for
                this handler.
            peer: the client's address, for the log; without it that of the connection.
            guest: from :meth:`admit`; None if the caller did not call that.
        """
        if guest is None:
            with self.admit(stream) as guest:
                return await self.serve(stream, received=received, peer=peer, guest=guest)
        visit = Visit(
            peer or ":".join(filter(None, peer_address(stream))), started=anyio.current_time()
        )
        self._visits.add(visit)
        try:
            with visit.scope:
                await self._serve(stream, received, visit, guest)
            if visit.scope.cancelled_caught and visit.outcome == "-":
                visit.outcome = "closed by shutdown"
        finally:
            if guest.gave_way:
                visit.outcome = "gave way to a newer connection"
            self._visits.discard(visit)
            self._sessions -= visit.is_session
            self._left.set()
            with (
                anyio.move_on_after(self._settings.farewell_timeout_s, shield=True),
                contextlib.suppress(anyio.BrokenResourceError, OSError),
            ):
                await stream.aclose()
            # A flood on the port must not flood the log.
            _access.log(
                logging.DEBUG if guest.gave_way else logging.INFO,
                '%s "%s /%s" %d %s subject=%s outcome=%r duration_s=%.3f',
                visit.peer,
                visit.method,
                visit.verb,
                visit.status,
                visit.protocol or "binary",
                visit.subject,
                visit.outcome,
                anyio.current_time() - visit.started,
            )
            if not self._visits and self._heap.has_grown:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._heap.give_back)

    def resume(self) -> None:
        """Take connections again after :meth:`drain`."""
        self._closing = False

    async def drain(self, grace_s: float) -> None:
        """Take no new connections, and let the sessions end; after ``grace_s`` seconds those that
        are left are closed in order.
        """
        self._closing = True
        with anyio.move_on_after(grace_s):
            await self._wait_empty()
        for visit in list(self._visits):
            visit.scope.cancel()
        with anyio.move_on_after(
            self._settings.kill_timeout_s + self._settings.farewell_timeout_s, shield=True
        ):
            await self._wait_empty()

    async def _wait_empty(self) -> None:
        while self._visits:
            self._left = anyio.Event()
            await self._left.wait()

    async def _serve(
        self, stream: anyio.abc.ByteStream, received: bytes, visit: Visit, guest: Guest
    ) -> None:
        await turns().take()
        http = HttpConnection(stream, received)
        try:
            try:
                with anyio.fail_after(guest.left_of(self._settings.head_timeout_s)):
                    request = await http.read_request()
            except TimeoutError:
                raise Refused(408, "no request came in time") from None
            if request is None:
                visit.outcome = "no request"
                return
            await turns().take()
            # So that no token is used for a cancelled connection.
            await anyio.lowlevel.checkpoint_if_cancelled()
            visit.method = request.method
            wanted = self._route(request, visit)
            guest.admit()
            visit.is_session = True
            self._sessions += 1
            choice, answer = _negotiate(request, wanted)
        except Refused as refusal:
            visit.status, visit.outcome = refusal.status, refusal.reason
            await http.refuse(refusal)
            await self._linger(stream, guest)
            return
        except anyio.BrokenResourceError:
            visit.outcome = "connection broke"
            return
        visit.status, visit.protocol = 101, f"{choice.transport}:{choice.name}"
        try:
            protocol = "SPDY/3.1" if choice.transport == "spdy" else "websocket"
            rest = await http.upgrade(protocol, answer)
            with self._observe(wanted.verb):
                visit.outcome = await self._session(stream, rest, choice, wanted)
        except anyio.BrokenResourceError:
            visit.outcome = "connection broke"
        finally:
            await self._linger(stream, guest)

    def _route(self, request: HttpRequest, visit: Visit) -> Request:
        """Find the request of a URL, which may have a prefix of an embedding program."""
        # Not by a URL parser: the target may be any text, and a parser raises at some.
        parts = request.target.partition("#")[0].partition("?")[0].rstrip("/").split("/")
        if len(parts) < 2 or parts[-2] not in VERBS:
            raise Refused(404, "there is nothing under this path")
        visit.verb = parts[-2]
        if request.method not in ("GET", "POST"):
            raise Refused(405, "GET or POST is needed", [("Allow", "GET, POST")])
        if self._closing or self._sessions >= self._settings.sessions:
            raise Refused(
                503, "the service stops" if self._closing else "there are too many sessions"
            )
        try:
            wanted = self._tokens.consume(parts[-1], visit.verb)
        except NotFound as error:
            raise Refused(404, str(error)) from error
        visit.subject = (
            wanted.pod_sandbox_id if isinstance(wanted, PortForwardRequest) else wanted.container_id
        )
        return wanted

    async def _session(
        self, stream: anyio.abc.ByteStream, rest: bytes, choice: Choice, wanted: Request
    ) -> str:
        if choice.transport == "spdy":
            async with self._spdy(stream, rest) as session:
                return await serve_spdy(session, choice, wanted, self._backend, self._settings)
        async with WebSocket(stream, client=False, received=rest) as websocket:
            if choice.transport == "channels":
                return await serve_channels(
                    websocket, choice, wanted, self._backend, self._settings
                )
            async with (
                farewell(websocket.close, self._settings.farewell_timeout_s),
                self._spdy(WebSocketByteStream(websocket), b"") as session,
            ):
                return await serve_spdy(session, choice, wanted, self._backend, self._settings)

    @contextlib.asynccontextmanager
    async def _spdy(self, stream: anyio.abc.ByteStream, rest: bytes) -> AsyncIterator[SpdySession]:
        """A SPDY session that sends GOAWAY at its end, however it ends."""
        async with (
            SpdySession(stream, spdy.Role.SERVER, self._settings.spdy, rest) as session,
            farewell(session.goodbye, self._settings.farewell_timeout_s),
        ):
            yield session

    async def _linger(self, stream: anyio.abc.ByteStream, guest: Guest) -> None:
        """Read and drop what still comes until the peer closes. To close a socket with unread bytes
        resets the connection, and the peer could lose the last bytes that were sent to it.
        """
        with (
            anyio.CancelScope(shield=guest.is_admitted),
            anyio.move_on_after(self._settings.farewell_timeout_s),
        ):
            await half_close(stream)
            with contextlib.suppress(
                anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError
            ):
                while True:
                    await stream.receive(65536)


def _negotiate(request: HttpRequest, wanted: Request) -> tuple[Choice, list[tuple[str, str]]]:
    """Choose the protocol. Returns it with the headers of the answer.

    Raises:
        Refused: no protocol is known to both sides, or the request is not an upgrade.
    """
    port_forward = isinstance(wanted, PortForwardRequest)
    if request.upgrades_to("websocket"):
        choice = choose_websocket(request.all("sec-websocket-protocol"), port_forward=port_forward)
        if isinstance(wanted, PortForwardRequest):
            check_ports(choice, wanted)
        return choice, websocket_answer(request, choice.name)
    if not request.upgrades_to("SPDY/3.1"):
        raise Refused(
            400,
            "unable to upgrade: Connection: Upgrade and Upgrade: SPDY/3.1 or websocket are needed",
        )
    choice = choose_spdy(request.all(PROTOCOL_HEADER), port_forward=port_forward)
    return choice, [(PROTOCOL_HEADER, choice.name)]
