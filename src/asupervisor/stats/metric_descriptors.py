"""The metrics that kubelet's ``/metrics/cadvisor`` had from cAdvisor, by the same names: what
ListMetricDescriptors answers.
"""

from __future__ import annotations

from enum import Enum
from functools import cache

from asupervisor.proto import cri

BASE = ("container", "id", "image", "name", "namespace", "pod")
"""Label keys of every metric, in the order of the label values, with cAdvisor's meanings: ``id`` is
the cgroup's path, ``name``
the engine's name of the container."""


class Kind(Enum):
    """Whether a metric only grows, as CRI names it."""

    COUNTER = cri.MetricType.COUNTER
    GAUGE = cri.MetricType.GAUGE


_NETWORK, _DISK = (*BASE, "interface"), (*BASE, "device")

METRICS: dict[str, tuple[Kind, str, tuple[str, ...]]] = {
    "container_blkio_device_usage_total": (
        Kind.COUNTER,
        "Bytes moved by each block device.",
        (*_DISK, "major", "minor", "operation"),
    ),
    "container_cpu_cfs_periods_total": (
        Kind.COUNTER,
        "Enforcement periods that have passed.",
        BASE,
    ),
    "container_cpu_cfs_throttled_periods_total": (
        Kind.COUNTER,
        "Enforcement periods in which it was throttled.",
        BASE,
    ),
    "container_cpu_cfs_throttled_seconds_total": (
        Kind.COUNTER,
        "Seconds for which it was throttled.",
        BASE,
    ),
    "container_cpu_system_seconds_total": (
        Kind.COUNTER,
        "CPU time spent in the kernel, in seconds.",
        BASE,
    ),
    "container_cpu_usage_seconds_total": (Kind.COUNTER, "CPU time, in seconds.", (*BASE, "cpu")),
    "container_cpu_user_seconds_total": (
        Kind.COUNTER,
        "CPU time spent in user mode, in seconds.",
        BASE,
    ),
    "container_file_descriptors": (
        Kind.GAUGE,
        "File descriptors that its processes have open.",
        BASE,
    ),
    "container_fs_inodes_free": (
        Kind.GAUGE,
        "Free inodes of the file system that its writable layer is on.",
        _DISK,
    ),
    "container_fs_inodes_total": (
        Kind.GAUGE,
        "Inodes of the file system that its writable layer is on.",
        _DISK,
    ),
    "container_fs_limit_bytes": (
        Kind.GAUGE,
        "Size of the file system that its writable layer is on.",
        _DISK,
    ),
    "container_fs_reads_bytes_total": (Kind.COUNTER, "Bytes read from block devices.", _DISK),
    "container_fs_reads_total": (Kind.COUNTER, "Reads from block devices.", _DISK),
    "container_fs_usage_bytes": (Kind.GAUGE, "Bytes that its writable layer takes.", _DISK),
    "container_fs_writes_bytes_total": (Kind.COUNTER, "Bytes written to block devices.", _DISK),
    "container_fs_writes_total": (Kind.COUNTER, "Writes to block devices.", _DISK),
    "container_hugetlb_max_usage_bytes": (
        Kind.GAUGE,
        "The most huge pages it had at once, in bytes.",
        (*BASE, "pagesize"),
    ),
    "container_hugetlb_usage_bytes": (
        Kind.GAUGE,
        "Huge pages it has, in bytes.",
        (*BASE, "pagesize"),
    ),
    "container_last_seen": (Kind.GAUGE, "Unix time of this reading, in seconds.", BASE),
    "container_memory_cache": (Kind.GAUGE, "Page cache, in bytes.", BASE),
    "container_memory_failcnt": (Kind.COUNTER, "How often it ran into its memory limit.", BASE),
    "container_memory_failures_total": (
        Kind.COUNTER,
        "Page faults.",
        (*BASE, "failure_type", "scope"),
    ),
    "container_memory_kernel_usage": (Kind.GAUGE, "Kernel memory, in bytes.", BASE),
    "container_memory_mapped_file": (Kind.GAUGE, "Files mapped into memory, in bytes.", BASE),
    "container_memory_max_usage_bytes": (
        Kind.GAUGE,
        "The most memory it had at once, in bytes.",
        BASE,
    ),
    "container_memory_rss": (Kind.GAUGE, "Anonymous memory, in bytes.", BASE),
    "container_memory_swap": (Kind.GAUGE, "Memory that is swapped out, in bytes.", BASE),
    "container_memory_total_active_file_bytes": (
        Kind.GAUGE,
        "Page cache in active use, in bytes.",
        BASE,
    ),
    "container_memory_total_inactive_file_bytes": (
        Kind.GAUGE,
        "Page cache that was not used of late, in bytes.",
        BASE,
    ),
    "container_memory_usage_bytes": (Kind.GAUGE, "All memory, in bytes.", BASE),
    "container_memory_working_set_bytes": (
        Kind.GAUGE,
        "Memory without page cache that was not used of late, in bytes.",
        BASE,
    ),
    "container_network_receive_bytes_total": (Kind.COUNTER, "Bytes received.", _NETWORK),
    "container_network_receive_errors_total": (Kind.COUNTER, "Errors while receiving.", _NETWORK),
    "container_network_receive_packets_dropped_total": (
        Kind.COUNTER,
        "Packets dropped while receiving.",
        _NETWORK,
    ),
    "container_network_receive_packets_total": (Kind.COUNTER, "Packets received.", _NETWORK),
    "container_network_transmit_bytes_total": (Kind.COUNTER, "Bytes sent.", _NETWORK),
    "container_network_transmit_errors_total": (Kind.COUNTER, "Errors while sending.", _NETWORK),
    "container_network_transmit_packets_dropped_total": (
        Kind.COUNTER,
        "Packets dropped while sending.",
        _NETWORK,
    ),
    "container_network_transmit_packets_total": (Kind.COUNTER, "Packets sent.", _NETWORK),
    "container_oom_events_total": (
        Kind.COUNTER,
        "Processes that the kernel killed for want of memory.",
        BASE,
    ),
    "container_pressure_cpu_stalled_seconds_total": (
        Kind.COUNTER,
        "Seconds in which no task could run for want of CPU.",
        BASE,
    ),
    "container_pressure_cpu_waiting_seconds_total": (
        Kind.COUNTER,
        "Seconds in which a task waited for CPU.",
        BASE,
    ),
    "container_pressure_io_stalled_seconds_total": (
        Kind.COUNTER,
        "Seconds in which no task could run for want of I/O.",
        BASE,
    ),
    "container_pressure_io_waiting_seconds_total": (
        Kind.COUNTER,
        "Seconds in which a task waited for I/O.",
        BASE,
    ),
    "container_pressure_memory_stalled_seconds_total": (
        Kind.COUNTER,
        "Seconds in which no task could run for want of memory.",
        BASE,
    ),
    "container_pressure_memory_waiting_seconds_total": (
        Kind.COUNTER,
        "Seconds in which a task waited for memory.",
        BASE,
    ),
    "container_processes": (Kind.GAUGE, "Processes.", BASE),
    "container_sockets": (Kind.GAUGE, "Sockets that its processes have open.", BASE),
    "container_spec_cpu_period": (Kind.GAUGE, "CPU period, in microseconds.", BASE),
    "container_spec_cpu_quota": (
        Kind.GAUGE,
        "CPU quota for each period, in microseconds; 0 where there is none.",
        BASE,
    ),
    "container_spec_cpu_shares": (Kind.GAUGE, "CPU shares.", BASE),
    "container_spec_memory_limit_bytes": (
        Kind.GAUGE,
        "Memory limit, in bytes; 0 where there is none.",
        BASE,
    ),
    "container_spec_memory_reservation_limit_bytes": (
        Kind.GAUGE,
        "Memory reservation, in bytes; 0 where there is none.",
        BASE,
    ),
    "container_spec_memory_swap_limit_bytes": (
        Kind.GAUGE,
        (
            "Swap limit, in bytes, as the kernel has it (of memory and swap together in cgroup v1);"
            " 0 where there is none."
        ),
        BASE,
    ),
    "container_start_time_seconds": (Kind.GAUGE, "Unix time of its start, in seconds.", BASE),
    "container_threads": (Kind.GAUGE, "Threads.", BASE),
    "container_threads_max": (
        Kind.GAUGE,
        "How many threads it may have; 0 where there is no limit.",
        BASE,
    ),
    "container_ulimits_soft": (
        Kind.GAUGE,
        "Soft resource limits of its first process.",
        (*BASE, "ulimit"),
    ),
}
"""Kind, help and label keys of each metric."""


@cache
def descriptors_response() -> bytes:
    """An encoded ListMetricDescriptorsResponse."""
    message = cri.ListMetricDescriptorsResponse()
    for name, (_, text, keys) in METRICS.items():
        message.descriptors.add(name=name, help=text, label_keys=keys)
    return message.SerializeToString()
