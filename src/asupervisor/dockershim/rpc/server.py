"""The CRI server on its unix socket, whose path has one owner."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import grpc
import grpc.aio

from asupervisor.dockershim.rpc.acceptors import Acceptors
from asupervisor.dockershim.rpc.boundary import MAXIMUM_MESSAGE_BYTES, Boundary
from asupervisor.errors import AlreadyExists, ConfigError, FailedPrecondition
from asupervisor.host.owned import owned

_SOCKET_UMASK = 0o117
_LONGEST_PATH = 107
_LAST_ANSWERS_S = 8.0

SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.bdp_probe", 0),
)


def endpoint_path(endpoint: str) -> Path:
    """The file of a ``unix://`` endpoint or plain path.

    Raises:
        ConfigError: it is malformed, relative, or too long for the kernel.
    """
    path = endpoint.removeprefix("unix://").removeprefix("unix:")
    if not path.startswith("/"):
        raise ConfigError(
            f'--container-runtime-endpoint: "{endpoint}" is not a unix:// address with an absolute'
            " path"
        )
    if len(path.encode()) > _LONGEST_PATH:
        raise ConfigError(
            f"--container-runtime-endpoint: the path {path} is longer than the {_LONGEST_PATH}"
            " bytes that a unix socket may have"
        )
    return Path(path)


@contextmanager
def owned_socket_path(path: Path) -> Iterator[None]:
    """Own a socket path: its directory made, a stale socket removed, a live one refused, the socket
    removed at the end.

    A lock file beside it decides who owns it: grpc would silently take the path from a running
    server.

    Raises:
        AlreadyExists: another server listens there.
        FailedPrecondition: the path cannot be used.
    """
    with owned(path.with_name(f"{path.name}.lock"), f"the endpoint {path}"):
        _remove_stale(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(
            f"{path} is there and is not a socket; it is left alone", subject=str(path)
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise FailedPrecondition(
                f"{path} is there and cannot be tried: {error}", subject=str(path)
            ) from error
    raise AlreadyExists(f"another server listens on {path}", subject=str(path))


class CriServer:
    """A grpc.aio server for the CRI on one unix socket.

    Args:
        path: the socket's file; owned by the caller (see :func:`owned_socket_path`).
        boundary: answers.
        extra: further generic handlers (health, reflection).
    """

    def __init__(
        self, path: Path, boundary: Boundary, extra: tuple[grpc.GenericRpcHandler, ...] = ()
    ) -> None:
        self._path = path
        self._boundary = boundary
        self._extra = extra
        self._server: grpc.aio.Server | None = None
        self._acceptors: Acceptors | None = None

    async def start(self) -> None:
        """Listen; the socket gets mode 0660.

        Raises:
            FailedPrecondition: the socket cannot be bound.
        """
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers((self._boundary, *self._extra))
        before = os.umask(_SOCKET_UMASK)
        try:
            server.add_insecure_port(f"unix://{self._path}")
        except RuntimeError as error:
            raise FailedPrecondition(
                f"the endpoint {self._path} cannot be bound: {error}"
            ) from error
        finally:
            os.umask(before)
        await server.start()
        self._server = server
        self._acceptors = Acceptors(server, (self._boundary, *self._extra))
        self._acceptors.start()

    async def drain(self) -> None:
        """Refuse further calls and return once none is in flight; the caller sets the deadline."""
        self._boundary.stop_accepting()
        await self._boundary.drain()

    async def stop(self) -> None:
        """Close the socket and cancel what is in flight; :meth:`drain` comes first."""
        if self._server is None:
            return
        self._boundary.cut_off()
        # Before stop(), which does not wait for cancelled handlers, and after which their answers
        # are not sent.
        with anyio.move_on_after(_LAST_ANSWERS_S):
            await self._boundary.drain()
        await self._server.stop(0)
        if self._acceptors is not None:
            await self._acceptors.stop()
        self._server = None
