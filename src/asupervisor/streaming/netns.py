"""Connections made inside another network namespace, without a process for each.

A socket belongs to the namespace of the thread that made it, whoever uses it later. One thread that
serves nobody else enters the namespace, makes the socket and comes back; connecting and everything
after happens in the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import anyio
import anyio.abc

from asupervisor.errors import FailedPrecondition, NotFound, ServiceError, Unavailable

_CLONE_NEWNET = 0x40000000
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))

_libc = ctypes.CDLL(None, use_errno=True)


class _Lost(BaseException):
    """The thread could not come back to its own namespace and must not make anything else."""


class NamespaceDialer:
    """Makes connections inside network namespaces. Use as an async context manager.

    Args:
        connect_timeout_s: seconds for one address to answer.
    """

    def __init__(self, *, connect_timeout_s: float = 10.0) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._thread: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> NamespaceDialer:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netns")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    async def connect_loopback(self, netns_path: str, port: int) -> anyio.abc.SocketStream:
        """Connect to a port on a namespace's loopback, IPv4 first and then IPv6.

        Args:
            netns_path: e.g. ``/proc/<pid>/ns/net``.
            port: TCP port.

        Raises:
            NotFound: the namespace is gone.
            Unavailable: nothing listens there on either address, or does not answer in time.
            FailedPrecondition: the kernel does not let this process in.
        """
        first: Unavailable | None = None
        for family, address in _LOOPBACKS:
            try:
                return await self._connect(netns_path, family, address, port)
            except Unavailable as error:
                first = first or error
        assert first is not None
        raise first

    async def _connect(
        self, netns_path: str, family: int, address: str, port: int
    ) -> anyio.abc.SocketStream:
        sock = await self._socket(netns_path, family)
        try:
            with anyio.fail_after(self._connect_timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
            return await anyio.abc.SocketStream.from_socket(sock)
        except TimeoutError as error:
            sock.close()
            raise Unavailable(
                f"{_host(address)}:{port} does not answer",
                operation="portforward",
                subject=str(port),
            ) from error
        except OSError as error:
            sock.close()
            what = os.strerror(error.errno) if error.errno else str(error)
            raise Unavailable(
                f"connect to {_host(address)}:{port}: {what}",
                operation="portforward",
                subject=str(port),
            ) from error
        except BaseException:
            sock.close()
            raise

    async def _socket(self, netns_path: str, family: int) -> socket.socket:
        if self._thread is None:
            raise Unavailable("port-forward has ended", operation="portforward")
        # The thread's work cannot be cancelled half-way; a socket that nobody waits for any more is
        # closed.
        future = self._thread.submit(_socket_in, netns_path, family)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close_result)
            raise
        except _Lost as error:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="netns")
            raise Unavailable(
                f"a thread was lost in {netns_path}", operation="portforward"
            ) from error
        except OSError as error:
            raise _error(error, netns_path, family) from error


def _socket_in(netns_path: str, family: int) -> socket.socket:
    """Make a socket of ``family`` in a namespace; runs in the dialer's own thread."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        finally:
            try:
                _setns(home)
            except OSError as error:
                raise _Lost(str(error)) from error
    finally:
        os.close(home)
    return sock


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _close_result(future: object) -> None:
    result = getattr(future, "result", None)
    try:
        sock = result() if callable(result) else None
    except BaseException:
        return
    if isinstance(sock, socket.socket):
        sock.close()


def _error(error: OSError, netns_path: str, family: int) -> ServiceError:
    if error.errno in (errno.ENOENT, errno.ESRCH):
        return NotFound(
            f"the network namespace {netns_path} is gone",
            operation="portforward",
            subject=netns_path,
        )
    if error.errno == errno.EAFNOSUPPORT:
        return Unavailable(
            f"address family {family} is not supported there",
            operation="portforward",
            subject=netns_path,
        )
    return FailedPrecondition(
        f"cannot enter {netns_path}: {error.strerror}", operation="portforward", subject=netns_path
    )


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
