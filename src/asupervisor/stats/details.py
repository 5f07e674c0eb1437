"""What cAdvisor's metrics need beyond the CRI stats, read when they are asked for: limits,
throttling, block I/O, huge pages.

Most of these files say the same from one reading to the next. So they are taken in sections, a few
files each, and a section is parsed and encoded again only when the kernel's text of it changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from asupervisor.host.cgroups import Location
from asupervisor.stats.cgroup import UNLIMITED, CgroupReader
from asupervisor.stats.kernel_files import Budget, KernelFile, content_of, number, table

_RESERVATION = "container_spec_memory_reservation_limit_bytes"


class Figure(NamedTuple):
    """One value of a metric; None where the kernel does not give it here."""

    name: str
    value: int | None
    labels: tuple[str, ...] = ()
    """Values of the metric's own labels."""


class Section(NamedTuple):
    """Files that are parsed together."""

    sources: tuple[Callable[[], bytes], ...]
    """Give their contents."""
    parse: Callable[..., Iterable[Figure]]
    """Takes the contents."""


class Details:
    """The files of one cgroup.

    Args:
        location: its directories.
        reader: of the same cgroup; it must read first, since its contents are used here again.
        budget: how many files may stay open.
    """

    def __init__(self, location: Location, reader: CgroupReader, budget: Budget) -> None:
        self._location = location
        self._files: list[KernelFile] = []
        self._reader, self._budget = reader, budget
        self._processes = [
            f"{directory}/cgroup.procs" for directory in _process_directories(location) if directory
        ]
        self.sections = list(self._v1() if _is_v1(location) else self._v2())

    def pids(self) -> list[int]:
        """Its processes; none where it is gone."""
        content = next(filter(None, map(_content, self._processes)), b"")
        return [int(pid) for pid in content.split()]

    def close(self) -> None:
        """Close its files; a later reading opens them again."""
        for file in self._files:
            file.close()

    def _source(self, directory: str, name: str) -> Callable[[], bytes]:
        known = self._reader.file(name)
        if known is not None:
            return lambda: known.last
        file = KernelFile(directory, name, self._budget)
        self._files.append(file)
        return file.read

    def _v1(self) -> Iterator[Section]:
        directories = self._location.v1
        for controller, names, parse in _V1_FILES:
            directory = directories.get(controller, "")
            yield Section(tuple(self._source(directory, name) for name in names.split()), parse)
        yield from self._huge_pages(
            directories.get("hugetlb", ""), "usage_in_bytes", "max_usage_in_bytes"
        )

    def _v2(self) -> Iterator[Section]:
        directory = self._location.v2
        for name, parse in _V2_FILES:
            yield Section((self._source(directory, name),), parse)
        yield from self._huge_pages(directory, "current", "")

    def _huge_pages(self, directory: str, current: str, most: str) -> Iterator[Section]:
        """One for each size of pages that the machine has."""
        for size in _page_sizes(directory, current):
            yield Section(
                (self._source(directory, f"hugetlb.{size}.{current}"),),
                _value("container_hugetlb_usage_bytes", number, size),
            )
            if most:
                yield Section(
                    (self._source(directory, f"hugetlb.{size}.{most}"),),
                    _value("container_hugetlb_max_usage_bytes", number, size),
                )


def _is_v1(location: Location) -> bool:
    return "memory" in location.v1 or "cpuacct" in location.v1


def _process_directories(location: Location) -> tuple[str, ...]:
    return (
        (location.v1.get("memory", ""), location.v1.get("cpuacct", ""))
        if _is_v1(location)
        else (location.v2,)
    )


def _content(path: str) -> bytes:
    try:
        return content_of(path)
    except OSError:
        return b""


def _page_sizes(directory: str, current: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory)) if directory else []
    except OSError:
        return []
    parts = (name.split(".") for name in names)
    return [
        part[1] for part in parts if len(part) == 3 and part[0] == "hugetlb" and part[2] == current
    ]


def _value(
    name: str, parse: Callable[[bytes], int], *labels: str
) -> Callable[[bytes], Iterable[Figure]]:
    """A file that is one number."""

    def figures(content: bytes) -> Iterable[Figure]:
        return [Figure(name, parse(content), labels)] if content else []

    return figures


def _limit(name: str) -> Callable[[bytes], Iterable[Figure]]:
    """A file that is a limit: 0 where there is none."""

    def figures(content: bytes) -> Iterable[Figure]:
        value = number(content)
        return [Figure(name, value if 0 < value < UNLIMITED else 0)]

    return figures


def _positive(content: bytes) -> int:
    return max(0, number(content))


def _seconds(content: bytes) -> int:
    return int(content) // 1_000_000_000


def _throttling(
    periods: int | None, throttled: int | None, throttled_s: int | None
) -> Iterable[Figure]:
    return [
        Figure("container_cpu_cfs_periods_total", periods),
        Figure("container_cpu_cfs_throttled_periods_total", throttled),
        Figure("container_cpu_cfs_throttled_seconds_total", throttled_s),
    ]


def _v1_throttling(content: bytes) -> Iterable[Figure]:
    cpu = table(content)
    time_ns = cpu.get(b"throttled_time")
    return _throttling(
        cpu.get(b"nr_periods"),
        cpu.get(b"nr_throttled"),
        None if time_ns is None else time_ns // 1_000_000_000,
    )


def _v1_memory(content: bytes) -> Iterable[Figure]:
    stat = table(content)
    return [
        Figure("container_memory_cache", stat.get(b"total_cache", 0)),
        Figure("container_memory_mapped_file", stat.get(b"total_mapped_file", 0)),
        Figure("container_memory_total_active_file_bytes", stat.get(b"total_active_file", 0)),
        Figure("container_memory_total_inactive_file_bytes", stat.get(b"total_inactive_file", 0)),
    ]


def _v1_kills(content: bytes) -> Iterable[Figure]:
    return [Figure("container_oom_events_total", table(content).get(b"oom_kill"))]


def _v2_cpu(content: bytes) -> Iterable[Figure]:
    cpu = table(content)

    def seconds(name: bytes) -> int | None:
        return cpu[name] // 1_000_000 if name in cpu else None

    return [
        Figure("container_cpu_user_seconds_total", seconds(b"user_usec")),
        Figure("container_cpu_system_seconds_total", seconds(b"system_usec")),
        *_throttling(cpu.get(b"nr_periods"), cpu.get(b"nr_throttled"), seconds(b"throttled_usec")),
    ]


def _v2_memory(content: bytes) -> Iterable[Figure]:
    stat = table(content)
    return [
        Figure("container_memory_cache", stat.get(b"file", 0)),
        Figure("container_memory_mapped_file", stat.get(b"file_mapped", 0)),
        Figure("container_memory_total_active_file_bytes", stat.get(b"active_file", 0)),
        Figure("container_memory_total_inactive_file_bytes", stat.get(b"inactive_file", 0)),
        Figure("container_memory_kernel_usage", stat.get(b"kernel", stat.get(b"kernel_stack"))),
    ]


def _v2_memory_events(content: bytes) -> Iterable[Figure]:
    events = table(content)
    return [
        Figure("container_memory_failcnt", events.get(b"max")),
        Figure("container_oom_events_total", events.get(b"oom_kill")),
    ]


def _v2_quota(content: bytes) -> Iterable[Figure]:
    """Quota, or ``max``, and period."""
    words = content.split()
    return [
        Figure("container_spec_cpu_period", int(words[1]) if len(words) > 1 else None),
        Figure("container_spec_cpu_quota", _positive(words[0]) if words else None),
    ]


def _v1_devices(moved: bytes, served: bytes) -> Iterator[Figure]:
    byte_counts, counts = _by_device(moved), _by_device(served)
    for device in sorted(byte_counts.keys() | counts.keys()):
        yield from _device(device, *byte_counts.get(device, (0, 0)), *counts.get(device, (0, 0)))


def _by_device(content: bytes) -> dict[str, tuple[int, int]]:
    """Lines ``254:0 Read 4096``: what was read and written, by device."""
    found: dict[str, dict[bytes, int]] = {}
    for line in content.splitlines():
        words = line.split()
        if len(words) == 3:
            found.setdefault(words[0].decode(), {})[words[1]] = int(words[2])
    return {
        device: (values.get(b"Read", 0), values.get(b"Write", 0))
        for device, values in found.items()
    }


def _v2_devices(content: bytes) -> Iterator[Figure]:
    """Lines ``254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0``."""
    for line in content.decode("ascii", "replace").splitlines():
        device, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if {"rbytes", "wbytes", "rios", "wios"} <= values.keys():
            yield from _device(
                device, *(int(values[key]) for key in ("rbytes", "wbytes", "rios", "wios"))
            )


def _device(
    device: str, read_bytes: int, write_bytes: int, reads: int, writes: int
) -> Iterable[Figure]:
    name, (major, _, minor) = device_name(device), device.partition(":")
    return [
        Figure("container_fs_reads_bytes_total", read_bytes, (name,)),
        Figure("container_fs_writes_bytes_total", write_bytes, (name,)),
        Figure("container_fs_reads_total", reads, (name,)),
        Figure("container_fs_writes_total", writes, (name,)),
        Figure("container_blkio_device_usage_total", read_bytes, (name, major, minor, "Read")),
        Figure("container_blkio_device_usage_total", write_bytes, (name, major, minor, "Write")),
    ]


def _shares(content: bytes) -> int:
    return 2 + (number(content) - 1) * 262142 // 9999


_V1_FILES: tuple[tuple[str, str, Callable[..., Iterable[Figure]]], ...] = (
    ("cpuacct", "cpuacct.usage_user", _value("container_cpu_user_seconds_total", _seconds)),
    ("cpuacct", "cpuacct.usage_sys", _value("container_cpu_system_seconds_total", _seconds)),
    ("cpu", "cpu.stat", _v1_throttling),
    ("cpu", "cpu.cfs_period_us", _value("container_spec_cpu_period", number)),
    ("cpu", "cpu.cfs_quota_us", _value("container_spec_cpu_quota", _positive)),
    ("cpu", "cpu.shares", _value("container_spec_cpu_shares", number)),
    ("memory", "memory.stat", _v1_memory),
    ("memory", "memory.kmem.usage_in_bytes", _value("container_memory_kernel_usage", number)),
    ("memory", "memory.max_usage_in_bytes", _value("container_memory_max_usage_bytes", number)),
    ("memory", "memory.failcnt", _value("container_memory_failcnt", number)),
    ("memory", "memory.oom_control", _v1_kills),
    ("memory", "memory.limit_in_bytes", _limit("container_spec_memory_limit_bytes")),
    ("memory", "memory.soft_limit_in_bytes", _limit(_RESERVATION)),
    ("memory", "memory.memsw.limit_in_bytes", _limit("container_spec_memory_swap_limit_bytes")),
    ("pids", "pids.current", _value("container_threads", number)),
    ("pids", "pids.max", _value("container_threads_max", _positive)),
    (
        "blkio",
        "blkio.throttle.io_service_bytes_recursive blkio.throttle.io_serviced_recursive",
        _v1_devices,
    ),
)
"""Controller, files that are parsed together, and how."""

_V2_FILES: tuple[tuple[str, Callable[..., Iterable[Figure]]], ...] = (
    ("cpu.stat", _v2_cpu),
    ("cpu.max", _v2_quota),
    ("cpu.weight", _value("container_spec_cpu_shares", _shares)),
    ("memory.stat", _v2_memory),
    ("memory.peak", _value("container_memory_max_usage_bytes", number)),
    ("memory.events", _v2_memory_events),
    ("memory.max", _limit("container_spec_memory_limit_bytes")),
    ("memory.low", _limit(_RESERVATION)),
    ("memory.swap.max", _limit("container_spec_memory_swap_limit_bytes")),
    ("pids.current", _value("container_threads", number)),
    ("pids.max", _value("container_threads_max", _positive)),
    ("io.stat", _v2_devices),
)


_device_names: dict[str, str] = {}


def device_name(device: str) -> str:
    """The path of a block device (``/dev/vda``) for its ``major:minor``; the numbers themselves
    where it has no name.
    """
    known = _device_names.get(device)
    if known is None:
        known = device
        try:
            with open(f"/sys/dev/block/{device}/uevent", encoding="utf-8") as file:
                for line in file:
                    if line.startswith("DEVNAME="):
                        known = "/dev/" + line.removeprefix("DEVNAME=").strip()
        except OSError:
            pass
        if len(_device_names) < 4096:
            _device_names[device] = known
    return known
