"""Work inside another network namespace, without a process for it.

A thread enters the namespace, does the work and ends: nothing has to find its way back, and nothing
of ours can be left inside. A socket belongs to the namespace of the thread that made it, whoever
uses it later.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from struct import Struct
from typing import TypeVar

from asupervisor.errors import FailedPrecondition, NotFound

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_FLAGS = Struct("16sH22x")  # struct ifreq: netdevice(7)


def in_namespace(path: str, action: Callable[[], T]) -> T:
    """Call ``action`` in a thread of its own that entered a network namespace. Blocks as long as
    that does.

    Args:
        path: of the namespace, e.g. ``/proc/<pid>/ns/net``.
        action: its result is ours, and so is what it raises.

    Raises:
        NotFound: the namespace is gone.
        FailedPrecondition: the kernel does not let this process in.
    """
    outcome: Future[T] = Future()

    def enter() -> None:
        try:
            _enter(path)
            outcome.set_result(action())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=enter, name="netns", daemon=True)
    thread.start()
    thread.join()
    return outcome.result()


def bring_loopback_up(path: str) -> None:
    """Set ``lo`` up in a network namespace, where it is not; the kernel gives it its addresses.
    What the CNI plugin ``loopback`` does, without a process.

    Args:
        path: of the namespace.

    Raises:
        NotFound: the namespace is gone.
        FailedPrecondition: the kernel refuses.
    """
    try:
        in_namespace(path, _set_lo_up)
    except OSError as error:
        raise FailedPrecondition(
            f"lo cannot be brought up in {path}: {error.strerror}", subject=path
        ) from error


def _set_lo_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name, flags = _FLAGS.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _FLAGS.pack(b"lo", 0)))
        if not flags & _IFF_UP:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _FLAGS.pack(name, flags | _IFF_UP))


def _enter(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            raise NotFound(f"the network namespace {path} is gone", subject=path) from error
        raise FailedPrecondition(
            f"cannot enter the network namespace {path}: {error.strerror}", subject=path
        ) from error
