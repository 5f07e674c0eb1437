"""What one cgroup uses, read from cgroup v1, v2 or both.

Sources: the kernel's admin-guide/cgroup-v1 (cpuacct, memory, pids) and admin-guide/cgroup-v2; which
figure is called working set, RSS and swap is kubelet's and cAdvisor's choice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from asupervisor.host.cgroups import Location
from asupervisor.stats.kernel_files import Budget, KernelFile, figures, number, table

UNLIMITED = 1 << 62
"""cgroup v1 reports "no limit" as a number near 2^63, rounded down to a page."""

_V1_KEYS = (
    b"\ntotal_inactive_file ",
    b"\ntotal_rss ",
    b"\ntotal_pgfault ",
    b"\ntotal_pgmajfault ",
    b"\ntotal_swap ",
)
_V2_KEYS = (b"\ninactive_file ", b"\nanon ", b"\npgfault ", b"\npgmajfault ")
_V1_FILES = (
    "cpuacct.usage",
    "memory.usage_in_bytes",
    "memory.stat",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
)
_V2_FILES = (
    "cpu.stat",
    "memory.current",
    "memory.stat",
    "memory.max",
    "memory.swap.current",
    "memory.swap.max",
)
_Memory = tuple[int, int, int, int, int, int, int, int]
"""The figures of memory and swap, in the order of :class:`Usage`; kept while the kernel's text of
them stays the same.
"""


class Usage(NamedTuple):
    """One reading of one cgroup. -1 stands for what the kernel does not say here."""

    time_ns: int
    """Unix time of the reading, nanoseconds."""
    cpu_ns: int
    """CPU time consumed since the cgroup was made, nanoseconds."""
    memory_bytes: int
    working_set_bytes: int
    """Memory without page cache that was not used recently: kubelet's working set."""
    rss_bytes: int
    """Anonymous memory."""
    page_faults: int
    major_page_faults: int
    memory_limit_bytes: int
    """-1 where there is no limit."""
    swap_bytes: int
    """-1 where the kernel does not account swap."""
    swap_limit_bytes: int
    """-1 where there is no limit."""
    cpu_pressure: bytes
    """The kernel's pressure stall information, see :func:`parse_pressure`, or empty."""
    memory_pressure: bytes
    io_pressure: bytes


class CgroupReader:
    """Reads one cgroup; not safe for use by two threads at once.

    Args:
        directories: of the CPU, memory and pids controllers; empty where there is none, which reads
            as nothing used.
        unified: its directory in the unified hierarchy, which alone has the pressure files; empty
            where there is none.
        budget: how many files may stay open.
        names: of the files: CPU, then what ``memory`` takes in its order.
        cpu_ns: the CPU time out of the text of the first file.
        memory: the figures of memory and swap out of the texts of the others.
    """

    def __init__(
        self,
        directories: tuple[str, str, str],
        unified: str,
        budget: Budget,
        names: tuple[str, ...],
        cpu_ns: Callable[[bytes], int],
        memory: Callable[..., _Memory],
    ) -> None:
        def file(directory: str, name: str) -> KernelFile:
            return KernelFile(directory, name, budget)

        cpu, memory_directory, pids = directories
        self._cpu = file(cpu, names[0])
        self._memory_files = [file(memory_directory, name) for name in names[1:]]
        self._pids = file(pids, "pids.current")
        self._pressure = [file(unified, f"{name}.pressure") for name in ("cpu", "memory", "io")]
        self._names = names
        self._cpu_ns, self._parse = cpu_ns, memory
        self._raw: list[bytes] = []
        self._memory: _Memory = (0, 0, 0, 0, 0, -1, -1, -1)

    def file(self, name: str) -> KernelFile | None:
        """What :meth:`read` reads of the CPU and memory controllers, by name: its last content
        serves other readers.
        """
        if name not in self._names:
            return None
        return (self._cpu, *self._memory_files)[self._names.index(name)]

    def read(self) -> Usage:
        """Everything about it. Raises :class:`~asupervisor.stats.kernel_files.Gone` when it was
        removed."""
        now, cpu = time.time_ns(), self.read_cpu_ns()
        raw = [file.read() for file in self._memory_files]
        if raw != self._raw:
            self._raw, self._memory = raw, self._parse(*raw)
        cpu_pressure, memory_pressure, io_pressure = [file.read() for file in self._pressure]
        return Usage(now, cpu, *self._memory, cpu_pressure, memory_pressure, io_pressure)

    def read_cpu_ns(self) -> int:
        """The CPU time alone, for a sample; raises Gone."""
        return self._cpu_ns(self._cpu.read())

    def read_processes(self) -> int:
        """The number of processes and threads (pids.current); -1 where the kernel does not count.
        Raises Gone."""
        return int(self._pids.read() or -1)

    def close(self) -> None:
        """Close its files; a later read opens them again."""
        for file in (self._cpu, *self._memory_files, self._pids, *self._pressure):
            file.close()


def open_cgroup(location: Location, budget: Budget) -> CgroupReader:
    """The reader that fits where the memory and CPU controllers are."""
    if "cpuacct" in location.v1 or "memory" in location.v1:
        cpu, memory, pids = (location.v1.get(name, "") for name in ("cpuacct", "memory", "pids"))
        return CgroupReader((cpu, memory, pids), location.v2, budget, _V1_FILES, number, _memory_v1)
    own = location.v2
    return CgroupReader((own, own, own), own, budget, _V2_FILES, _cpu_ns_v2, _memory_v2)


def _cpu_ns_v2(text: bytes) -> int:
    return table(text).get(b"usage_usec", 0) * 1000


def _memory_v1(
    usage_text: bytes, stat: bytes, limit_text: bytes, swap_limit_text: bytes
) -> _Memory:
    usage = number(usage_text)
    inactive_file, rss, faults, major_faults, swap = figures(b"\n" + stat, _V1_KEYS)
    limit, swap_limit = number(limit_text) or -1, number(swap_limit_text) or -1
    bounded = 0 <= limit < UNLIMITED
    return (
        usage,
        max(0, usage - max(0, inactive_file)),
        max(0, rss),
        max(0, faults),
        max(0, major_faults),
        limit if bounded else -1,
        swap,
        max(0, swap_limit - limit) if bounded and 0 <= swap_limit < UNLIMITED else -1,
    )


def _memory_v2(
    usage_text: bytes, stat: bytes, limit_text: bytes, swap_text: bytes, swap_limit_text: bytes
) -> _Memory:
    usage = number(usage_text)
    inactive_file, rss, faults, major_faults = figures(b"\n" + stat, _V2_KEYS)
    return (
        usage,
        max(0, usage - max(0, inactive_file)),
        max(0, rss),
        max(0, faults),
        max(0, major_faults),
        number(limit_text or b"max"),
        number(swap_text) if swap_text else -1,
        number(swap_limit_text or b"max"),
    )


class PressureLine(NamedTuple):
    """How long tasks waited: shares of 10, 60 and 300 s in percent, the total in ns."""

    avg10: float
    avg60: float
    avg300: float
    total_ns: int


def parse_pressure(content: bytes) -> dict[str, PressureLine]:
    """Read pressure stall information (the kernel's accounting/psi): ``some`` and, where the kernel
    has it, ``full``.

    Args:
        content: lines ``some avg10=0.00 avg60=0.00 avg300=0.00 total=0``; the kernel's total is in
            microseconds.
    """
    lines: dict[str, PressureLine] = {}
    for line in content.decode("ascii", "replace").splitlines():
        name, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        lines[name] = PressureLine(
            float(values["avg10"]),
            float(values["avg60"]),
            float(values["avg300"]),
            int(values["total"]) * 1000,
        )
    return lines
