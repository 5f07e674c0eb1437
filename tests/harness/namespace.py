"""Network and mount namespaces of one's own, for tests and benchmarks that make bridges, rules and mounts."""

from __future__ import annotations

import ctypes
import os
import subprocess

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000


def leave_the_network() -> None:
    """Leave the machine's network and mounts, before anything starts a thread; children inherit it.

    Raises:
        OSError: not allowed to.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
