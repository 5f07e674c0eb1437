"""Which process made a unix socket listen, and which processes have it open."""

from __future__ import annotations

import os
import socket
from struct import Struct
from typing import Any

_PATIENCE_S = 0.5
_CREDENTIALS = Struct("iII")  # pid, uid and gid: unix(7), SO_PEERCRED
_INODE_BITS = 32
"""Bits of the inode number that the kernel gives for a socket's file."""


def listener_process(path: str) -> int | None:
    """The process that made the socket at a path listen: 0 if it is outside of our pid namespace,
    None if no connection is possible. Blocks for half a second at most.

    Args:
        path: of the socket; links are followed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE_S)
        try:
            probe.connect(path)
            told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return None
    pid: int = _CREDENTIALS.unpack(told)[0]
    return pid


def listener_holders(path: str) -> list[int]:
    """The processes, in our pid namespace, that have open the socket that listens at a path.

    Sockets are compared by the file that the kernel says they are bound to: a container may bind
    one of the same name in its own mount namespace. Blocks: it looks at every process.

    Args:
        path: of the socket; links are followed.
    """
    from pyroute2 import DiagSocket
    from pyroute2.netlink.diag import SS_LISTEN, UDIAG_SHOW_VFS

    try:
        status = os.stat(path)
    except OSError:
        return []
    inode = status.st_ino & (1 << _INODE_BITS) - 1
    file = (inode, os.major(status.st_dev) << 20 | os.minor(status.st_dev))
    with DiagSocket() as diag:
        diag.bind()
        sockets: Any = diag.get_sock_stats(
            family=socket.AF_UNIX, states=1 << SS_LISTEN, show=UDIAG_SHOW_VFS
        )
        bound = [(entry["udiag_ino"], entry.get("UNIX_DIAG_VFS")) for entry in sockets]
    links = {
        f"socket:[{inode}]"
        for inode, vfs in bound
        if vfs and (vfs["udiag_vfs_ino"], vfs["udiag_vfs_dev"]) == file
    }
    if not links:
        return []
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if _has_open(pid, links)]


def _has_open(pid: int, links: set[str]) -> bool:
    directory = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(directory):
            try:
                if os.readlink(f"{directory}/{name}") in links:
                    return True
            except OSError:
                continue
    except OSError:
        return False
    return False
