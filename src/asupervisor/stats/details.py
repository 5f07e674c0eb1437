"""What cAdvisor's metrics need beyond the CRI stats, read when they are asked for: limits, throttling, block I/O, huge pages."""

from __future__ import annotations

import os
from typing import NamedTuple

from asupervisor.stats.cgroup import UNLIMITED
from asupervisor.stats.files import number, table
from asupervisor.stats.hierarchy import Location


class DeviceCounters(NamedTuple):
    """What a cgroup moved from and to one block device."""

    device: str
    """``major:minor``."""
    read_bytes: int
    write_bytes: int
    reads: int
    writes: int


class Details(NamedTuple):
    """One reading; figures that the kernel does not give here are None."""

    user_ns: int | None
    system_ns: int | None
    periods: int | None
    throttled_periods: int | None
    throttled_ns: int | None
    cache_bytes: int
    mapped_file_bytes: int
    active_file_bytes: int
    inactive_file_bytes: int
    kernel_bytes: int | None
    max_usage_bytes: int | None
    limit_hits: int | None
    oom_kills: int | None
    cpu_period_us: int | None
    cpu_quota_us: int | None
    cpu_shares: int | None
    memory_limit_bytes: int
    memory_reservation_bytes: int
    memory_swap_limit_bytes: int
    threads: int | None
    threads_max: int | None
    pids: list[int]
    devices: list[DeviceCounters]
    huge_pages: list[tuple[str, int, int | None]]
    """Page size, bytes now, most bytes."""


def read_details(location: Location) -> Details:
    """Read them all; a cgroup that is gone reads as nothing."""
    if "memory" in location.v1 or "cpuacct" in location.v1:
        return _read_v1(location)
    return _read_v2(location.v2)


def _content(directory: str, name: str) -> bytes:
    if not directory:
        return b""
    try:
        fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        content = os.read(fd, 65536)
        while chunk := os.read(fd, 65536):
            content += chunk
        return content
    except OSError:
        return b""
    finally:
        os.close(fd)


def _optional(content: bytes) -> int | None:
    return number(content) if content else None


def _bounded(content: bytes) -> int:
    """A limit, 0 where there is none."""
    value = number(content)
    return value if 0 < value < UNLIMITED else 0


def _pids(content: bytes) -> list[int]:
    return [int(pid) for pid in content.split()]


def _read_v1(location: Location) -> Details:
    def at(controller: str, name: str) -> bytes:
        return _content(location.v1.get(controller, ""), name)

    stat, cpu = table(at("memory", "memory.stat")), table(at("cpu", "cpu.stat"))
    oom = table(at("memory", "memory.oom_control"))
    quota = _optional(at("cpu", "cpu.cfs_quota_us"))
    moved, served = (
        _v1_devices(at("blkio", "blkio.throttle.io_service_bytes_recursive")),
        _v1_devices(at("blkio", "blkio.throttle.io_serviced_recursive")),
    )
    return Details(
        user_ns=_optional(at("cpuacct", "cpuacct.usage_user")),
        system_ns=_optional(at("cpuacct", "cpuacct.usage_sys")),
        periods=cpu.get(b"nr_periods"),
        throttled_periods=cpu.get(b"nr_throttled"),
        throttled_ns=cpu.get(b"throttled_time"),
        cache_bytes=stat.get(b"total_cache", 0),
        mapped_file_bytes=stat.get(b"total_mapped_file", 0),
        active_file_bytes=stat.get(b"total_active_file", 0),
        inactive_file_bytes=stat.get(b"total_inactive_file", 0),
        kernel_bytes=_optional(at("memory", "memory.kmem.usage_in_bytes")),
        max_usage_bytes=_optional(at("memory", "memory.max_usage_in_bytes")),
        limit_hits=_optional(at("memory", "memory.failcnt")),
        oom_kills=oom.get(b"oom_kill"),
        cpu_period_us=_optional(at("cpu", "cpu.cfs_period_us")),
        cpu_quota_us=None if quota is None else max(0, quota),
        cpu_shares=_optional(at("cpu", "cpu.shares")),
        memory_limit_bytes=_bounded(at("memory", "memory.limit_in_bytes")),
        memory_reservation_bytes=_bounded(at("memory", "memory.soft_limit_in_bytes")),
        memory_swap_limit_bytes=_bounded(at("memory", "memory.memsw.limit_in_bytes")),
        threads=_optional(at("pids", "pids.current")),
        threads_max=_threads_max(at("pids", "pids.max")),
        pids=_pids(at("memory", "cgroup.procs") or at("cpuacct", "cgroup.procs")),
        devices=[
            DeviceCounters(device, *moved.get(device, (0, 0)), *served.get(device, (0, 0)))
            for device in sorted(moved.keys() | served.keys())
        ],
        huge_pages=_huge_pages(location.v1.get("hugetlb", ""), "usage_in_bytes", "max_usage_in_bytes"),
    )


def _read_v2(directory: str) -> Details:
    def at(name: str) -> bytes:
        return _content(directory, name)

    stat, cpu, events = table(at("memory.stat")), table(at("cpu.stat")), table(at("memory.events"))
    maximum = at("cpu.max").split()
    weight = _optional(at("cpu.weight"))

    def nanoseconds(name: bytes) -> int | None:
        return cpu[name] * 1000 if name in cpu else None

    return Details(
        user_ns=nanoseconds(b"user_usec"),
        system_ns=nanoseconds(b"system_usec"),
        periods=cpu.get(b"nr_periods"),
        throttled_periods=cpu.get(b"nr_throttled"),
        throttled_ns=nanoseconds(b"throttled_usec"),
        cache_bytes=stat.get(b"file", 0),
        mapped_file_bytes=stat.get(b"file_mapped", 0),
        active_file_bytes=stat.get(b"active_file", 0),
        inactive_file_bytes=stat.get(b"inactive_file", 0),
        kernel_bytes=stat.get(b"kernel", stat.get(b"kernel_stack")),
        max_usage_bytes=_optional(at("memory.peak")),
        limit_hits=events.get(b"max"),
        oom_kills=events.get(b"oom_kill"),
        cpu_period_us=int(maximum[1]) if len(maximum) > 1 else None,
        cpu_quota_us=max(0, number(maximum[0])) if maximum else None,
        cpu_shares=None if weight is None else 2 + (weight - 1) * 262142 // 9999,
        memory_limit_bytes=_bounded(at("memory.max")),
        memory_reservation_bytes=_bounded(at("memory.low")),
        memory_swap_limit_bytes=_bounded(at("memory.swap.max")),
        threads=_optional(at("pids.current")),
        threads_max=_threads_max(at("pids.max")),
        pids=_pids(at("cgroup.procs")),
        devices=_v2_devices(at("io.stat")),
        huge_pages=_huge_pages(directory, "current", ""),
    )


def _threads_max(content: bytes) -> int | None:
    return max(0, number(content)) if content else None


def _v1_devices(content: bytes) -> dict[str, tuple[int, int]]:
    """Lines ``254:0 Read 4096``: what was read and written, by device."""
    figures: dict[str, dict[bytes, int]] = {}
    for line in content.splitlines():
        words = line.split()
        if len(words) == 3:
            figures.setdefault(words[0].decode(), {})[words[1]] = int(words[2])
    return {device: (values.get(b"Read", 0), values.get(b"Write", 0)) for device, values in figures.items()}


def _v2_devices(content: bytes) -> list[DeviceCounters]:
    """Lines ``254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0``."""
    devices = []
    for line in content.decode("ascii", "replace").splitlines():
        device, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if {"rbytes", "wbytes", "rios", "wios"} <= values.keys():
            devices.append(DeviceCounters(device, *(int(values[key]) for key in ("rbytes", "wbytes", "rios", "wios"))))
    return devices


def _huge_pages(directory: str, current: str, most: str) -> list[tuple[str, int, int | None]]:
    if not directory:
        return []
    pages = []
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    for name in names:
        parts = name.split(".")
        if len(parts) == 3 and parts[0] == "hugetlb" and parts[2] == current:
            peak = _optional(_content(directory, f"hugetlb.{parts[1]}.{most}")) if most else None
            pages.append((parts[1], number(_content(directory, name)), peak))
    return pages
