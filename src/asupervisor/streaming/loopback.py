"""Connections to a port on the loopback of another network namespace."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread

from asupervisor.errors import Unavailable
from asupervisor.host.netns import in_namespace
from asupervisor.listening import open_stream

_TIMEOUT_S = 10.0
"""Seconds for one address to answer."""
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def connect_loopback(netns_path: str, port: int) -> anyio.abc.SocketStream:
    """Connect to a port on a namespace's loopback, IPv4 first and then IPv6.

    Args:
        netns_path: e.g. ``/proc/<pid>/ns/net``.
        port: TCP port.

    Raises:
        NotFound: the namespace is gone.
        Unavailable: nothing listens there on either address, or does not answer in time.
        anyio.BrokenResourceError: the listener accepted the connection and reset it.
        FailedPrecondition: the kernel does not let this process in.
    """
    first: Unavailable | None = None
    for family, address in _LOOPBACKS:
        try:
            return await _connect(netns_path, family, address, port)
        except Unavailable as error:
            first = first or error
    assert first is not None
    raise first


async def _connect(netns_path: str, family: int, address: str, port: int) -> anyio.abc.SocketStream:
    made = partial(socket.socket, family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Shielded, so that a socket that was made is not lost by a cancellation.
        with anyio.CancelScope(shield=True):
            sock = await anyio.to_thread.run_sync(in_namespace, netns_path, made)
    except OSError as error:
        raise _refused(address, port, str(error.strerror)) from error
    try:
        with anyio.fail_after(_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        if (stream := await open_stream(sock)) is None:
            raise ConnectionResetError
        return stream
    except BaseException as error:
        sock.close()
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            raise anyio.BrokenResourceError from error
        if isinstance(error, TimeoutError):
            raise _refused(address, port, "it does not answer") from error
        if isinstance(error, OSError):
            what = os.strerror(error.errno) if error.errno else str(error)
            raise _refused(address, port, what) from error
        raise


def _refused(address: str, port: int, why: str) -> Unavailable:
    host = f"[{address}]" if ":" in address else address
    return Unavailable(f"connect to {host}:{port}: {why}", subject=str(port))
