"""Network and mount namespaces of one's own, for tests and benchmarks that make bridges, rules and
mounts.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SYSTEM_CONTAINERD = "/run/containerd/containerd.sock"
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000


def leave_the_network() -> None:
    """Leave the machine's network and mounts, before anything starts a thread; children inherit it.

    Raises:
        OSError: not allowed to.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
        raise OSError(
            ctypes.get_errno(),
            f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}",
        )
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    if Path(_SYSTEM_CONTAINERD).is_socket():
        # Every dockerd uses the system's containerd where it finds one, and that one does not see
        # what is mounted here.
        subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", os.path.dirname(_SYSTEM_CONTAINERD)], check=True
        )
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@contextmanager
def network_of_its_own() -> Iterator[None]:
    """A fresh network for this thread, the threads and processes that it starts, until the context
    ends.

    An engine that runs in the network of before is not met there: it drops what is forwarded, and
    misses rules that are flushed.

    Raises:
        OSError: not allowed to.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(
                ctypes.get_errno(),
                f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}",
            )
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            if libc.setns(before, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot return to the network of before")
    finally:
        os.close(before)
