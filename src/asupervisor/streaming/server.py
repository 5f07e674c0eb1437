"""The streaming service: makes URLs for requests, and listens to serve them, unless an embedding
program listens.
"""

from __future__ import annotations

import logging
import socket
import ssl

import anyio
import anyio.abc

from asupervisor.admission import Guest
from asupervisor.config import StreamingConfig
from asupervisor.errors import ConfigError, FailedPrecondition
from asupervisor.listening import accept, open_stream
from asupervisor.streaming.backend import Backend
from asupervisor.streaming.handler import SessionObserver, StreamHandler, not_counted
from asupervisor.streaming.requests import Request
from asupervisor.streaming.settings import Settings
from asupervisor.streaming.tls import ReloadingCertificate
from asupervisor.streaming.tokens import TokenCache
from asupervisor.tls_stream import secure

_log = logging.getLogger(__name__)

REDIRECT_PREFIX = "/cri"
"""Path before the URLs if an embedding program serves them, as in dockershim."""


class StreamingService:
    """Serves exec, attach and port-forward to clients that have one of its URLs.

    Args:
        config: where to listen, TLS, times.
        backend: starts what is asked for.
        settings: further bounds; its times are taken from ``config``.
        tokens: what the URLs stand for.
        observe: gives a context manager for each session, to count it; its argument is ``exec``,
            ``attach`` or ``portforward``.
    """

    def __init__(
        self,
        config: StreamingConfig,
        backend: Backend,
        *,
        settings: Settings | None = None,
        tokens: TokenCache | None = None,
        observe: SessionObserver = not_counted,
    ) -> None:
        self._config = config
        self._settings = settings or Settings(
            creation_timeout_s=config.creation_timeout_s, idle_timeout_s=config.idle_timeout_s
        )
        self._tokens = tokens if tokens is not None else TokenCache()  # an empty cache is false
        self._certificate = (
            ReloadingCertificate(config.tls_cert_file, config.tls_private_key_file)
            if config.tls_cert_file and not config.redirect
            else None
        )
        self._base_url = REDIRECT_PREFIX if config.redirect else ""
        self.handler = StreamHandler(self._tokens, backend, self._settings, observe)
        """Serves connections, with ``redirect`` on those of an embedding program."""

    @property
    def base_url(self) -> str:
        """The beginning of every URL; empty before the service listens."""
        return self._base_url

    def url(self, request: Request) -> str:
        """A URL under which ``request`` can be served once, within a minute.

        Raises:
            InvalidArgument: the request cannot be served.
            ResourceExhausted: too many URLs wait for their client.
            FailedPrecondition: the service does not listen yet.
        """
        request.check()
        if not self._base_url:
            raise FailedPrecondition("the streaming service does not listen")
        return f"{self._base_url}/{request.verb}/{self._tokens.insert(request)}"

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[str] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until cancelled; ``started`` gives the base URL. Sessions that still run are
        closed with a farewell.

        Raises:
            ConfigError: it cannot listen on the address, or not read the certificate.
        """
        self.handler.resume()
        if self._config.redirect:
            task_status.started(self._base_url)
            try:
                await anyio.sleep_forever()
            finally:
                await self._close_sessions()
        listener = await self._listen()
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    task_status.started(self._base_url)
                    # Every connection is accepted at once: in the kernel's queue those without a
                    # valid URL would keep the others waiting.
                    while True:
                        tasks.start_soon(self._serve, await accept(listener, "streaming"))
                finally:
                    listener.close()
                    await self._close_sessions()
        finally:
            self._base_url = ""

    async def drain(self, grace_s: float) -> None:
        """Take no new sessions and wait for the running ones; those that outlast the grace are
        closed with a farewell.

        Args:
            grace_s: seconds for the sessions to end by themselves.
        """
        await self.handler.drain(grace_s)

    async def _close_sessions(self) -> None:
        with anyio.CancelScope(shield=True):
            await self.handler.drain(0)

    async def _listen(self) -> socket.socket:
        if self._certificate is not None:
            self._certificate.load()
        host, port = self._config.bind_host, self._config.bind_port
        try:
            addresses = await anyio.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, kind, protocol, _, address = addresses[0]
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # Accepted connections inherit it.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setblocking(False)
                sock.bind(address)
                sock.listen(1024)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise ConfigError(
                f"--streaming-bind-addr: cannot listen on {host}:{port}: {error}"
            ) from error
        bound = sock.getsockname()
        shown = (
            bound[0]
            if bound[0] not in ("0.0.0.0", "::")
            else ("127.0.0.1" if family == socket.AF_INET else "::1")
        )
        scheme = "https" if self._certificate is not None else "http"
        self._base_url = f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{bound[1]}"
        _log.debug("streaming on %s", self._base_url)
        return sock

    async def _serve(self, accepted: socket.socket) -> None:
        stream = await open_stream(accepted)
        if stream is None:
            return
        try:
            with self.handler.admit(stream) as guest:
                connection = await self._secure(stream, guest)
                if connection is not None:
                    await self.handler.serve(connection, guest=guest)
        except Exception:  # a client can break its own session, not the others of this group
            _log.exception("a streaming session failed")
        finally:
            await anyio.aclose_forcefully(stream)

    async def _secure(
        self, stream: anyio.abc.SocketStream, guest: Guest
    ) -> anyio.abc.ByteStream | None:
        """The connection with TLS, if that is on; None if the handshake fails."""
        if self._certificate is None:
            return stream
        try:
            with anyio.fail_after(guest.left_of(self._settings.head_timeout_s)):
                return await secure(stream, self._certificate.current())
        except (
            ssl.SSLError,
            anyio.BrokenResourceError,
            anyio.EndOfStream,
            TimeoutError,
            OSError,
        ) as error:
            _log.debug("no TLS with a client: %s", error)
            return None
