"""Counters of a network namespace's interfaces, from ``/proc/<pid>/net/dev`` (proc_pid_net(5)) of a
process in it.
"""

from __future__ import annotations

from typing import NamedTuple

from asupervisor.stats.kernel_files import content_of

_MOST = 64
"""Interfaces that are reported: a pod that may configure its network can make thousands, and one
message has those of all pods.
"""
_TABLE_BYTES = 64 << 10
"""Bytes of the kernel's table that are read, some hundred interfaces."""


class InterfaceCounters(NamedTuple):
    """Everything that one interface counted since it was made."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_packets_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_packets_dropped: int


def parse_net_dev(content: bytes) -> list[InterfaceCounters]:
    """The interfaces in the kernel's order, the first 64 of them, the loopback left out.

    Of names that are equal when decoded only the first counts: Prometheus takes no metric twice.
    """
    interfaces: dict[str, InterfaceCounters] = {}
    for line in content.splitlines()[2:]:
        name, separator, counters = line.rpartition(b":")
        values = counters.split()
        if not separator or len(values) < 12 or name.strip() == b"lo":
            continue
        if len(interfaces) == _MOST:
            break
        rx, tx = list(map(int, values[:4])), list(map(int, values[8:12]))
        shown = name.strip().decode("utf-8", "replace")
        interfaces.setdefault(shown, InterfaceCounters(shown, *rx, *tx))
    return list(interfaces.values())


def read_net_dev(process: int) -> bytes:
    """Read it from the directory of a process.

    The file is closed at once: left open it would keep the whole network namespace alive.

    Args:
        process: a descriptor of the directory ``/proc/<pid>``, which goes on meaning that process
            when its pid is used again.

    Raises:
        OSError: the process is gone.
    """
    return content_of("net/dev", process, _TABLE_BYTES)
