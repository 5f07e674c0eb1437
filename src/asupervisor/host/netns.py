"""Work inside another network namespace, without a process for it.

A thread enters the namespace, does the work and ends. So nothing has to return to our namespace,
and nothing of ours stays inside. A socket belongs to the namespace of the thread that made it,
whichever thread uses it later.

A namespace ends with the last process that is in it, unless a descriptor holds it.
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
from asupervisor.host.descriptor import HeldDescriptor
from asupervisor.host.processes import ContainerProcess

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_FLAGS = Struct("16sH22x")  # struct ifreq: netdevice(7)
_IPV6_OFF = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
_PAUSE_S = 0.005


class HeldNamespace(HeldDescriptor):
    """Keeps a network namespace, also when its processes have ended, until it is closed. A context
    manager.

    Args:
        descriptor: of the namespace; closed with this.
    """

    @property
    def path(self) -> str:
        """Its path, for every process that may look into ours, until this is closed."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode, which no other namespace has at the same time."""
        status = os.fstat(self.descriptor)
        return (status.st_dev, status.st_ino)

    def again(self) -> HeldNamespace:
        """A second one for the same namespace, which another owner closes.

        Raises:
            OSError: we have no file descriptors left.
        """
        return HeldNamespace(os.dup(self.descriptor))


def hold_namespace(pid: int, container_id: str) -> HeldNamespace | None:
    """Hold the network namespace of a container's process; None if the process has ended.

    Args:
        pid: in our pid namespace.
        container_id: of the container that the process must belong to.
    """
    try:
        with ContainerProcess(pid, container_id) as process:
            return HeldNamespace(process.open("ns/net"))
    except OSError:
        return None


def until_ipv6_is_off(path: str, enough: threading.Event) -> bool:
    """Wait until IPv6 is switched off for all interfaces of a network namespace, or the kernel has
    none. Blocks meanwhile.

    Args:
        path: of the namespace.
        enough: ends the wait when it is set.

    Returns:
        Whether it is off.

    Raises:
        NotFound, FailedPrecondition: as :func:`in_namespace`.
    """

    def look() -> bool:
        while not (off := _ipv6_off()) and not enough.wait(_PAUSE_S):
            pass
        return off

    return in_namespace(path, look)


def in_namespace(path: str, action: Callable[[], T]) -> T:
    """Call ``action`` in a thread of its own that entered a network namespace. Blocks until it
    returns.

    Args:
        path: of the namespace, such as ``/proc/<pid>/ns/net``.
        action: its result is returned, its error is raised.

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
    """Set ``lo`` up in a network namespace, if it is not; the kernel gives it its addresses. The
    CNI plugin ``loopback`` does the same, with a process.

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


def set_up(any_socket: socket.socket, interface: str) -> None:
    """Set an interface up, if it is not.

    Args:
        any_socket: of the namespace that it is in.
        interface: its name.

    Raises:
        OSError: the kernel refuses.
    """
    asked = _FLAGS.pack(interface.encode(), 0)
    name, flags = _FLAGS.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
    if not flags & _IFF_UP:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _FLAGS.pack(name, flags | _IFF_UP))


def _set_lo_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        set_up(any_socket, "lo")


def _ipv6_off() -> bool:
    # The kernel shows the sysctls of the namespace that the thread is in.
    try:
        with open(_IPV6_OFF, "rb") as file:
            return file.read().strip() == b"1"
    except FileNotFoundError:
        return True


def _enter(path: str) -> None:
    try:
        with HeldDescriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as held:
            if ctypes.CDLL(None, use_errno=True).setns(held.descriptor, _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            raise NotFound(f"the network namespace {path} is gone", subject=path) from error
        raise FailedPrecondition(
            f"cannot enter the network namespace {path}: {error.strerror}", subject=path
        ) from error
