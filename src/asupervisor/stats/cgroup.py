"""What one cgroup uses, read from cgroup v1, v2 or both.

Sources: the kernel's admin-guide/cgroup-v1 (cpuacct, memory, pids) and admin-guide/cgroup-v2; which
figure is called working set, RSS and swap is kubelet's and cAdvisor's choice."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

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


class Usage(NamedTuple):
    """One reading of one cgroup. -1 stands for what the kernel does not say here."""

    time_ns: int
    """Unix time of the reading, nanoseconds."""
    cpu_ns: int
    """CPU time consumed since the cgroup was made, nanoseconds."""
    memory_bytes: int
    working_set_bytes: int
    """Memory without the page cache that was not used of late: what kubelet calls the working set.
    """
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
    """The kernel's text of pressure stall information, see :func:`parse_pressure`; empty where
    there is none.
    """
    memory_pressure: bytes
    io_pressure: bytes


class CgroupReader(Protocol):
    """Reads one cgroup; not safe for use by two threads at once."""

    files: dict[str, KernelFile]
    """By name what :meth:`read` reads of the CPU and memory controllers: their last contents serve
    other readers.
    """

    def read(self) -> Usage:
        """Everything about it. Raises :class:`~asupervisor.stats.kernel_files.Gone` when it was
        removed.
        """

    def read_cpu_ns(self) -> int:
        """The CPU time alone, for a sample; raises
        :class:`~asupervisor.stats.kernel_files.Gone`.
        """

    def read_processes(self) -> int:
        """The number of processes and threads (pids.current); -1 where the kernel does not count.
        Raises Gone.
        """

    def close(self) -> None:
        """Close its files; a later read opens them again."""


def open_cgroup(location: Location, budget: Budget) -> CgroupReader:
    """The reader that fits where the memory and CPU controllers are."""
    if "cpuacct" in location.v1 or "memory" in location.v1:
        return CgroupV1(location, budget)
    return CgroupV2(location.v2, budget)


class _Pressure:
    """The three pressure files, which only the unified hierarchy has; in hybrid mode it has them
    beside v1's controllers.
    """

    __slots__ = ("cpu", "io", "memory")

    def __init__(self, directory: str, budget: Budget) -> None:
        self.cpu, self.memory, self.io = (
            KernelFile(f"{directory}/{name}.pressure" if directory else "", budget)
            for name in ("cpu", "memory", "io")
        )

    def files(self) -> tuple[KernelFile, ...]:
        return (self.cpu, self.memory, self.io)


class CgroupV1:
    """One cgroup under v1's controllers.

    Args:
        location: its directories; the unified one, where there is one, gives the pressure.
        budget: how many files may stay open.
    """

    def __init__(self, location: Location, budget: Budget) -> None:
        def file(controller: str, name: str) -> KernelFile:
            directory = location.v1.get(controller, "")
            return KernelFile(f"{directory}/{name}" if directory else "", budget)

        self._cpu = file("cpuacct", "cpuacct.usage")
        self._usage = file("memory", "memory.usage_in_bytes")
        self._stat = file("memory", "memory.stat")
        self._limit = file("memory", "memory.limit_in_bytes")
        self._swap_limit = file("memory", "memory.memsw.limit_in_bytes")
        self._pids = file("pids", "pids.current")
        self._pressure = _Pressure(location.v2, budget)
        self.files = {
            "memory.stat": self._stat,
            "memory.limit_in_bytes": self._limit,
            "memory.memsw.limit_in_bytes": self._swap_limit,
        }
        self._raw: tuple[bytes, ...] = ()
        self._memory = _NOTHING

    def read(self) -> Usage:
        """See :meth:`CgroupReader.read`."""
        now = time.time_ns()
        cpu = number(self._cpu.read())
        raw = (self._usage.read(), self._stat.read(), self._limit.read(), self._swap_limit.read())
        if raw != self._raw:
            self._raw, self._memory = raw, _memory_v1(*raw)
        pressure = self._pressure
        return Usage(
            now, cpu, *self._memory, pressure.cpu.read(), pressure.memory.read(), pressure.io.read()
        )

    def read_cpu_ns(self) -> int:
        """See :meth:`CgroupReader.read_cpu_ns`."""
        return number(self._cpu.read())

    def read_processes(self) -> int:
        """See :meth:`CgroupReader.read_processes`."""
        return int(self._pids.read() or -1)

    def close(self) -> None:
        """See :meth:`CgroupReader.close`."""
        for file in (
            self._cpu,
            self._usage,
            self._stat,
            self._limit,
            self._swap_limit,
            self._pids,
            *self._pressure.files(),
        ):
            file.close()


class CgroupV2:
    """One cgroup of the unified hierarchy.

    Args:
        directory: its directory; empty reads as nothing used.
        budget: how many files may stay open.
    """

    def __init__(self, directory: str, budget: Budget) -> None:
        def file(name: str) -> KernelFile:
            return KernelFile(f"{directory}/{name}" if directory else "", budget)

        self._cpu = file("cpu.stat")
        self._usage = file("memory.current")
        self._stat = file("memory.stat")
        self._limit = file("memory.max")
        self._swap = file("memory.swap.current")
        self._swap_limit = file("memory.swap.max")
        self._pids = file("pids.current")
        self._pressure = _Pressure(directory, budget)
        self.files = {
            "cpu.stat": self._cpu,
            "memory.stat": self._stat,
            "memory.max": self._limit,
            "memory.swap.max": self._swap_limit,
        }
        self._raw: tuple[bytes, ...] = ()
        self._memory = _NOTHING

    def read(self) -> Usage:
        """See :meth:`CgroupReader.read`."""
        now = time.time_ns()
        cpu = self.read_cpu_ns()
        raw = (
            self._usage.read(),
            self._stat.read(),
            self._limit.read(),
            self._swap.read(),
            self._swap_limit.read(),
        )
        if raw != self._raw:
            self._raw, self._memory = raw, _memory_v2(*raw)
        pressure = self._pressure
        return Usage(
            now, cpu, *self._memory, pressure.cpu.read(), pressure.memory.read(), pressure.io.read()
        )

    def read_cpu_ns(self) -> int:
        """See :meth:`CgroupReader.read_cpu_ns`."""
        return table(self._cpu.read()).get(b"usage_usec", 0) * 1000

    def read_processes(self) -> int:
        """See :meth:`CgroupReader.read_processes`."""
        return int(self._pids.read() or -1)

    def close(self) -> None:
        """See :meth:`CgroupReader.close`."""
        for file in (
            self._cpu,
            self._usage,
            self._stat,
            self._limit,
            self._swap,
            self._swap_limit,
            self._pids,
            *self._pressure.files(),
        ):
            file.close()


_Memory = tuple[int, int, int, int, int, int, int, int]
"""The figures of memory and swap, in the order of :class:`Usage`; kept while the kernel's text of
them stays the same.
"""
_NOTHING: _Memory = (0, 0, 0, 0, 0, -1, -1, -1)


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
    """How long tasks waited: shares of the last 10, 60 and 300 seconds in percent, and the total in
    nanoseconds.
    """

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
