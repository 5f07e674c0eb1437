"""What the kernel tells about a server process: who it is, its CPU time, its memory."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def listener(path: str) -> int:
    """The process that listens on a unix socket (SO_PEERCRED: whoever called ``listen``).

    Raises:
        OSError: nobody does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        pid, _, _ = struct.unpack(
            "3i",
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")),
        )
    return int(pid)


def family(pid: int) -> list[int]:
    """A process and everything that descends from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, ()))
    return found


def own_cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, ended threads included, its children not, to a tick of
    10 ms (proc(5): utime, stime).
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that processes and the children they waited for have used (proc(5): utime, stime,
    cutime, cstime).

    The kernel counts in ticks of 10 ms, so measure for a second and more.
    """
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes: ``rss`` counts shared pages in full, ``pss`` each sharer's part of
    them.
    """

    rss: int
    pss: int

    @classmethod
    def of(cls, pids: list[int]) -> Memory:
        """The sum over processes; one that ended counts as nothing."""
        sums = {"Rss": 0, "Pss": 0}
        for pid in pids:
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                name, _, rest = line.partition(":")
                if name in sums:
                    sums[name] += int(rest.split()[0]) * 1024
        return cls(sums["Rss"], sums["Pss"])
