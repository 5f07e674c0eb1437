"""A pod's metrics by cAdvisor's names: what ListPodSandboxMetrics answers.

CRI carries every value as a whole number, so metrics in seconds are whole seconds. Values are read when asked for, so that
their timestamp is 0, as CRI wants it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from asupervisor.stats.cgroup import Usage, parse_pressure
from asupervisor.stats.descriptors import METRICS, Kind
from asupervisor.stats.details import read_details
from asupervisor.stats.encode import field, varint
from asupervisor.stats.hierarchy import Location
from asupervisor.stats.process import open_files
from asupervisor.stats.subjects import LayerUsage
from asupervisor.stats.targets import ContainerTarget, SandboxTarget

_SECOND_NS = 1_000_000_000

_device_names: dict[str, str] = {}


class MetricWriter:
    """Collects encoded Metric messages that share their first labels, as field 2 of their parent.

    Args:
        labels: values of the base labels, in the order of :data:`~asupervisor.stats.descriptors.BASE`.
        beginnings: what a metric begins with, all but its value, by name and own labels; kept from one reading to the next.
    """

    def __init__(self, labels: tuple[str, ...], beginnings: dict[tuple[str, ...], bytes]) -> None:
        self._labels = labels
        self._beginnings = beginnings
        self._parts: list[bytes] = []

    def add(self, name: str, value: int | None, *labels: str) -> None:
        """Add one metric with its own labels' values after the base ones; None adds nothing."""
        if value is None:
            return
        beginning = self._beginnings.get((name, *labels))
        if beginning is None:
            kind = b"\x18\x01" if METRICS[name][0] is Kind.GAUGE else b""
            values = b"".join(field(4, label.encode()) for label in (*self._labels, *labels))
            beginning = self._beginnings[name, *labels] = field(1, name.encode()) + kind + values
        content = field(5, b"\x08" + varint(value)) if value else b"*\0"
        self._parts += (b"\x12", varint(len(beginning) + len(content)), beginning, content)

    def encoded(self) -> bytes:
        """All of them, one after the other."""
        return b"".join(self._parts)


def pod_metrics(
    sandbox: SandboxTarget,
    containers: list[ContainerTarget],
    layer: Callable[[str], LayerUsage | None],
    mountpoint: str,
) -> bytes:
    """Read one pod and encode it as field 1 of a ListPodSandboxMetricsResponse.

    The pod's own metrics carry an empty ``container`` label, as those of a pod's cgroup did; those of its network carry
    ``POD``, as they belonged to the pause container.

    Args:
        sandbox: the pod's sandbox.
        containers: its containers.
        layer: gives the size of a container's writable layer.
        mountpoint: of the file system that writable layers are on; empty when unknown.
    """
    subject, metadata = sandbox.subject, sandbox.subject.attributes.metadata
    sandbox.open()
    parts = [field(1, subject.sandbox_id.encode())]
    if sandbox.process:
        pod = MetricWriter(("", sandbox.process.parent.path, "", "", metadata.namespace, metadata.name), sandbox.pod.beginnings)
        usage = sandbox.pod.read()
        if usage is not None:
            _add_usage(pod, usage)
            _add_details(pod, sandbox.process.parent)
        parts.append(pod.encoded())
        pause = MetricWriter(
            ("POD", sandbox.process.cgroup.path, subject.image, subject.name, metadata.namespace, metadata.name), sandbox.own.beginnings
        )
        _add_network(pause, sandbox)
        parts.append(pause.encoded())
    for container in containers:
        parts.append(field(3, _container(container, (metadata.namespace, metadata.name), layer, mountpoint)))
    return field(1, b"".join(parts))


def _container(target: ContainerTarget, pod: tuple[str, str], layer: Callable[[str], LayerUsage | None], mountpoint: str) -> bytes:
    subject = target.subject
    target.open()
    usage = target.cgroup.read()
    if usage is None or not target.process:
        return field(1, subject.container_id.encode())
    process = target.process
    writer = MetricWriter(
        (subject.attributes.metadata.name, process.cgroup.path, subject.image, subject.name, *pod), target.cgroup.beginnings
    )
    _add_usage(writer, usage)
    pids = _add_details(writer, process.cgroup)
    writer.add("container_processes", len(pids))
    files, sockets = open_files(pids)
    writer.add("container_file_descriptors", files)
    writer.add("container_sockets", sockets)
    limit = process.soft_limit("Max open files")
    writer.add("container_ulimits_soft", limit if limit >= 0 else None, "max_open_files")
    writer.add("container_start_time_seconds", subject.started_at_ns // _SECOND_NS)
    writer.add("container_last_seen", int(time.time()))
    size = layer(subject.container_id)
    _add_filesystem(writer, mountpoint, size.used_bytes if size else 0)
    return field(1, subject.container_id.encode()) + writer.encoded()


def _add_usage(writer: MetricWriter, usage: Usage) -> None:
    writer.add("container_cpu_usage_seconds_total", usage.cpu_ns // _SECOND_NS, "total")
    writer.add("container_memory_usage_bytes", usage.memory_bytes)
    writer.add("container_memory_working_set_bytes", usage.working_set_bytes)
    writer.add("container_memory_rss", usage.rss_bytes)
    writer.add("container_memory_swap", max(0, usage.swap_bytes))
    for scope in ("container", "hierarchy"):
        writer.add("container_memory_failures_total", usage.page_faults, "pgfault", scope)
        writer.add("container_memory_failures_total", usage.major_page_faults, "pgmajfault", scope)
    for resource, content in (("cpu", usage.cpu_pressure), ("memory", usage.memory_pressure), ("io", usage.io_pressure)):
        lines = parse_pressure(content)
        for line, word in (("full", "stalled"), ("some", "waiting")):
            if line in lines:
                writer.add(f"container_pressure_{resource}_{word}_seconds_total", lines[line].total_ns // _SECOND_NS)


def _add_details(writer: MetricWriter, location: Location) -> list[int]:
    """Add what is not in the CRI stats; returns the cgroup's processes."""
    details = read_details(location)
    writer.add("container_cpu_user_seconds_total", _seconds(details.user_ns))
    writer.add("container_cpu_system_seconds_total", _seconds(details.system_ns))
    writer.add("container_cpu_cfs_periods_total", details.periods)
    writer.add("container_cpu_cfs_throttled_periods_total", details.throttled_periods)
    writer.add("container_cpu_cfs_throttled_seconds_total", _seconds(details.throttled_ns))
    writer.add("container_memory_cache", details.cache_bytes)
    writer.add("container_memory_mapped_file", details.mapped_file_bytes)
    writer.add("container_memory_total_active_file_bytes", details.active_file_bytes)
    writer.add("container_memory_total_inactive_file_bytes", details.inactive_file_bytes)
    writer.add("container_memory_kernel_usage", details.kernel_bytes)
    writer.add("container_memory_max_usage_bytes", details.max_usage_bytes)
    writer.add("container_memory_failcnt", details.limit_hits)
    writer.add("container_oom_events_total", details.oom_kills)
    writer.add("container_spec_cpu_period", details.cpu_period_us)
    writer.add("container_spec_cpu_quota", details.cpu_quota_us)
    writer.add("container_spec_cpu_shares", details.cpu_shares)
    writer.add("container_spec_memory_limit_bytes", details.memory_limit_bytes)
    writer.add("container_spec_memory_reservation_limit_bytes", details.memory_reservation_bytes)
    writer.add("container_spec_memory_swap_limit_bytes", details.memory_swap_limit_bytes)
    writer.add("container_threads", details.threads)
    writer.add("container_threads_max", details.threads_max)
    for size, current, most in details.huge_pages:
        writer.add("container_hugetlb_usage_bytes", current, size)
        writer.add("container_hugetlb_max_usage_bytes", most, size)
    for counters in details.devices:
        name, (major, _, minor) = device_name(counters.device), counters.device.partition(":")
        writer.add("container_fs_reads_bytes_total", counters.read_bytes, name)
        writer.add("container_fs_writes_bytes_total", counters.write_bytes, name)
        writer.add("container_fs_reads_total", counters.reads, name)
        writer.add("container_fs_writes_total", counters.writes, name)
        writer.add("container_blkio_device_usage_total", counters.read_bytes, name, major, minor, "Read")
        writer.add("container_blkio_device_usage_total", counters.write_bytes, name, major, minor, "Write")
    return details.pids


def _add_filesystem(writer: MetricWriter, mountpoint: str, used_bytes: int) -> None:
    try:
        figures, device = os.statvfs(mountpoint), os.stat(mountpoint).st_dev
    except OSError:
        return
    name = device_name(f"{os.major(device)}:{os.minor(device)}")
    writer.add("container_fs_usage_bytes", used_bytes, name)
    writer.add("container_fs_limit_bytes", figures.f_blocks * figures.f_frsize, name)
    writer.add("container_fs_inodes_total", figures.f_files, name)
    writer.add("container_fs_inodes_free", figures.f_ffree, name)


def _add_network(writer: MetricWriter, sandbox: SandboxTarget) -> None:
    if not sandbox.subject.own_network or not sandbox.process:
        return
    for counters in sandbox.process.net_dev():
        for direction, figures in (
            ("receive", (counters.rx_bytes, counters.rx_packets, counters.rx_packets_dropped, counters.rx_errors)),
            ("transmit", (counters.tx_bytes, counters.tx_packets, counters.tx_packets_dropped, counters.tx_errors)),
        ):
            for what, value in zip(("bytes", "packets", "packets_dropped", "errors"), figures, strict=True):
                writer.add(f"container_network_{direction}_{what}_total", value, counters.name)


def _seconds(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else nanoseconds // _SECOND_NS


def device_name(device: str) -> str:
    """The path of a block device (``/dev/vda``) for its ``major:minor``; the numbers themselves where it has no name."""
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
