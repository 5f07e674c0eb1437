"""The metrics that kubelet's ``/metrics/cadvisor`` had from cAdvisor, by the same names: what
ListMetricDescriptors answers.
"""

from __future__ import annotations

from enum import Enum
from functools import cache

from asupervisor.proto import cri

BASE = ("container", "id", "image", "name", "namespace", "pod")
"""Label keys of every metric, in the order of the label values, with cAdvisor's meanings: ``id`` is
the cgroup's path, ``name`` the engine's name of the container.
"""


class Kind(Enum):
    """Whether a metric only grows, as CRI names it."""

    COUNTER = cri.MetricType.COUNTER
    GAUGE = cri.MetricType.GAUGE


_METRICS: dict[tuple[Kind, tuple[str, ...]], dict[str, str]] = {
    (Kind.COUNTER, ()): {
        "cpu_cfs_periods_total": "Enforcement periods that have passed.",
        "cpu_cfs_throttled_periods_total": "Enforcement periods in which it was throttled.",
        "cpu_cfs_throttled_seconds_total": "Seconds for which it was throttled.",
        "cpu_system_seconds_total": "CPU time spent in the kernel, in seconds.",
        "cpu_user_seconds_total": "CPU time spent in user mode, in seconds.",
        "memory_failcnt": "How often it ran into its memory limit.",
        "oom_events_total": "Processes that the kernel killed for want of memory.",
        "pressure_cpu_stalled_seconds_total": "Seconds in which no task could run for want of CPU.",
        "pressure_cpu_waiting_seconds_total": "Seconds in which a task waited for CPU.",
        "pressure_io_stalled_seconds_total": "Seconds in which no task could run for want of I/O.",
        "pressure_io_waiting_seconds_total": "Seconds in which a task waited for I/O.",
        "pressure_memory_stalled_seconds_total": (
            "Seconds in which no task could run for want of memory."
        ),
        "pressure_memory_waiting_seconds_total": "Seconds in which a task waited for memory.",
    },
    (Kind.GAUGE, ()): {
        "file_descriptors": "File descriptors that its processes have open.",
        "last_seen": "Unix time of this reading, in seconds.",
        "memory_cache": "Page cache, in bytes.",
        "memory_kernel_usage": "Kernel memory, in bytes.",
        "memory_mapped_file": "Files mapped into memory, in bytes.",
        "memory_max_usage_bytes": "The most memory it had at once, in bytes.",
        "memory_rss": "Anonymous memory, in bytes.",
        "memory_swap": "Memory that is swapped out, in bytes.",
        "memory_total_active_file_bytes": "Page cache in active use, in bytes.",
        "memory_total_inactive_file_bytes": "Page cache that was not used recently, in bytes.",
        "memory_usage_bytes": "All memory, in bytes.",
        "memory_working_set_bytes": (
            "Memory without page cache that was not used recently, in bytes."
        ),
        "processes": "Processes.",
        "sockets": "Sockets that its processes have open.",
        "spec_cpu_period": "CPU period, in microseconds.",
        "spec_cpu_quota": "CPU quota for each period, in microseconds; 0 where there is none.",
        "spec_cpu_shares": "CPU shares.",
        "spec_memory_limit_bytes": "Memory limit, in bytes; 0 where there is none.",
        "spec_memory_reservation_limit_bytes": (
            "Memory reservation, in bytes; 0 where there is none."
        ),
        "spec_memory_swap_limit_bytes": (
            "Swap limit, in bytes, as the kernel has it (of memory and swap together in cgroup v1);"
            " 0 where there is none."
        ),
        "start_time_seconds": "Unix time of its start, in seconds.",
        "threads": "Threads.",
        "threads_max": "How many threads it may have; 0 where there is no limit.",
    },
    (Kind.COUNTER, ("cpu",)): {"cpu_usage_seconds_total": "CPU time, in seconds."},
    (Kind.GAUGE, ("device",)): {
        "fs_inodes_free": "Free inodes of the file system that its writable layer is on.",
        "fs_inodes_total": "Inodes of the file system that its writable layer is on.",
        "fs_limit_bytes": "Size of the file system that its writable layer is on.",
        "fs_usage_bytes": "Bytes that its writable layer takes.",
    },
    (Kind.COUNTER, ("device",)): {
        "fs_reads_bytes_total": "Bytes read from block devices.",
        "fs_reads_total": "Reads from block devices.",
        "fs_writes_bytes_total": "Bytes written to block devices.",
        "fs_writes_total": "Writes to block devices.",
    },
    (Kind.COUNTER, ("device", "major", "minor", "operation")): {
        "blkio_device_usage_total": "Bytes moved by each block device.",
    },
    (Kind.COUNTER, ("failure_type", "scope")): {"memory_failures_total": "Page faults."},
    (Kind.COUNTER, ("interface",)): {
        "network_receive_bytes_total": "Bytes received.",
        "network_receive_errors_total": "Errors while receiving.",
        "network_receive_packets_dropped_total": "Packets dropped while receiving.",
        "network_receive_packets_total": "Packets received.",
        "network_transmit_bytes_total": "Bytes sent.",
        "network_transmit_errors_total": "Errors while sending.",
        "network_transmit_packets_dropped_total": "Packets dropped while sending.",
        "network_transmit_packets_total": "Packets sent.",
    },
    (Kind.GAUGE, ("pagesize",)): {
        "hugetlb_max_usage_bytes": "The most huge pages it had at once, in bytes.",
        "hugetlb_usage_bytes": "Huge pages it has, in bytes.",
    },
    (Kind.GAUGE, ("ulimit",)): {"ulimits_soft": "Soft resource limits of its first process."},
}
"""Help of each metric, by its kind and its own label keys."""

METRICS: dict[str, tuple[Kind, str, tuple[str, ...]]] = dict(
    sorted(
        (f"container_{name}", (kind, text, (*BASE, *keys)))
        for (kind, keys), texts in _METRICS.items()
        for name, text in texts.items()
    )
)
"""Kind, help and label keys of each metric."""


@cache
def descriptors_response() -> bytes:
    """An encoded ListMetricDescriptorsResponse."""
    message = cri.ListMetricDescriptorsResponse()
    for name, (_, text, keys) in METRICS.items():
        message.descriptors.add(name=name, help=text, label_keys=keys)
    return message.SerializeToString()
