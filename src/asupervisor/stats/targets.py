"""What is read for one container and for one sandbox. Everything here blocks: it runs in the stats'
reading thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from asupervisor.host.cgroups import Hierarchies, Location
from asupervisor.proto import cri
from asupervisor.proto.wire import field
from asupervisor.stats.cgroup import CgroupReader, Usage, open_cgroup
from asupervisor.stats.container_process import Process
from asupervisor.stats.details import Details
from asupervisor.stats.encode import (
    EncodedUsage,
    UsageEncoder,
    container_stats,
    network_usage,
    stopped_container_stats,
)
from asupervisor.stats.kernel_files import Budget, Gone
from asupervisor.stats.metrics import CgroupMetrics, MetricEncoder
from asupervisor.stats.rate import CpuRate, monotonic_ns
from asupervisor.stats.subjects import ContainerSubject, LayerUsage, SandboxSubject


class CgroupTarget:
    """One cgroup that is read repeatedly: the reading, the rate, and the messages they are put
    into.

    Args:
        reader: None where there is no cgroup to read.
        started_at_ns: Unix time of its making in nanoseconds, 0 when unknown.
    """

    def __init__(self, reader: CgroupReader | None, started_at_ns: int) -> None:
        self.reader = reader
        self.rate = CpuRate(monotonic_ns(started_at_ns))
        self.encoder = UsageEncoder()
        self.usage: Usage | None = None
        self.nano_cores: int | None = None
        self.last_cpu_ns = 0
        self.metrics: CgroupMetrics | None = None
        """What :meth:`read_metrics` keeps; None before its first reading and at the end."""

    def read(self) -> Usage | None:
        """Take a reading; None once the cgroup is gone."""
        if self.reader is None:
            self.usage = None
            return None
        now = time.monotonic_ns()
        try:
            usage = self.reader.read()
        except Gone:
            self.end()
            return None
        self.usage, self.last_cpu_ns = usage, usage.cpu_ns
        self.nano_cores = self.rate.at(now, usage.cpu_ns)
        self.rate.sample(now, usage.cpu_ns)
        return usage

    def read_encoded(self) -> EncodedUsage | None:
        """Take a reading and encode it; None once the cgroup is gone."""
        usage = self.read()
        return self.encoder.encode(usage, self.nano_cores) if usage is not None else None

    def read_metrics(
        self, location: Location, labels: tuple[str, ...], budget: Budget
    ) -> list[bytes]:
        """Take a reading as cAdvisor's metrics; nothing once the cgroup is gone.

        Args:
            location: the cgroup's directories.
            labels: values of the base labels; the same at every call.
            budget: how many files may stay open.
        """
        usage = self.read()
        if usage is None or self.reader is None:
            return []
        if self.metrics is None:
            self.metrics = CgroupMetrics(labels, Details(location, self.reader, budget))
        return self.metrics.read(usage)

    def sample(self, older_than_s: float) -> None:
        """Take a CPU sample if the last one is older."""
        now = time.monotonic_ns()
        if self.reader is None or now - self.rate.last_sample_ns() < older_than_s * 1e9:
            return
        try:
            self.last_cpu_ns = self.reader.read_cpu_ns()
        except Gone:
            self.end()
        else:
            self.rate.sample(now, self.last_cpu_ns)

    def processes(self) -> int:
        """The number of its processes; 0 where that is not known."""
        try:
            return max(0, self.reader.read_processes()) if self.reader else 0
        except Gone:
            self.end()
            return 0

    def end(self) -> None:
        """Close the files: there is nothing to read any more."""
        if self.reader is not None:
            self.reader.close()
        if self.metrics is not None:
            self.metrics.details.close()
        self.reader = None
        self.metrics = None
        self.usage = None


class ContainerTarget:
    """One container.

    Args:
        subject: what is known of it.
        hierarchies: gives the mounted cgroup file systems.
        budget: how many files may stay open.
    """

    def __init__(
        self, subject: ContainerSubject, hierarchies: Callable[[], Hierarchies], budget: Budget
    ) -> None:
        self.subject = subject
        self.read_at = 0.0
        """When it was last read, by the monotonic clock in seconds."""
        self.message = subject.attributes
        """The last reading: a ContainerStats."""
        self.writable_layer = subject.writable_layer
        self.process: Process | None = None
        self.is_closed = False
        """A reading that waited for its turn may come after :meth:`close`, and opens nothing."""
        self._hierarchies = hierarchies
        self.budget = budget
        self.cgroup = CgroupTarget(None, subject.started_at_ns)

    def open(self) -> None:
        """Find its process and cgroup, once."""
        if self.process is not None or self.is_closed:
            return
        self.process = Process(self.subject.pid, self.subject.container_id, self._hierarchies)
        if self.process:
            self.cgroup.reader = open_cgroup(self.process.cgroup, self.budget)
        self.writable_layer = self.writable_layer or self.process.upper_directory()

    def sample(self, older_than_s: float) -> None:
        """Take a CPU sample if the last one is older."""
        self.open()
        self.cgroup.sample(older_than_s)

    def refresh(self, layer: LayerUsage | None, mountpoint: str) -> None:
        """Read it and encode what was read."""
        self.open()
        attributes, usage = self.subject.attributes, self.cgroup.read_encoded()
        if usage is not None:
            encoded_layer = self.cgroup.encoder.layer(layer, usage.time_ns, mountpoint)
            self.message = container_stats(attributes, usage, encoded_layer)
        else:
            self.message = stopped_container_stats(attributes, layer, time.time_ns(), mountpoint)
        self.read_at = time.monotonic()

    def close(self) -> None:
        """Close everything, for good."""
        self.is_closed = True
        self.cgroup.end()
        if self.process is not None:
            self.process.close()


class SandboxTarget:
    """One sandbox: its own container's cgroup, the pod's where it has one, and the network.

    Args:
        subject: what is known of it.
        hierarchies: gives the mounted cgroup file systems.
        budget: how many files may stay open.
    """

    def __init__(
        self, subject: SandboxSubject, hierarchies: Callable[[], Hierarchies], budget: Budget
    ) -> None:
        self.subject = subject
        self.read_at = 0.0
        self.entry = field(1, subject.attributes)
        """The last reading, as field 1 of the responses: a PodSandboxStats."""
        self.process: Process | None = None
        self.is_closed = False
        """A reading that waited for its turn may come after :meth:`close`, and opens nothing."""
        self.ended_cpu_ns = 0
        """What containers of a pod without a cgroup of its own had used when they ended: its
        counter never falls.
        """
        self._hierarchies = hierarchies
        self.budget = budget
        self.network_metrics: MetricEncoder | None = None
        """Encodes the metrics of its network; None before their first reading."""
        self.own = CgroupTarget(None, subject.started_at_ns)
        self.pod = CgroupTarget(None, subject.started_at_ns)

    def open(self) -> None:
        """Find its process and cgroups, once."""
        if self.process is not None or self.is_closed:
            return
        self.process = Process(self.subject.pid, self.subject.sandbox_id, self._hierarchies)
        if not self.process:
            return
        self.own.reader = open_cgroup(self.process.cgroup, self.budget)
        if self.subject.own_cgroup and (parent := self.process.parent):
            self.pod.reader = open_cgroup(parent, self.budget)

    def sample(self, older_than_s: float) -> None:
        """Take a CPU sample if the last one is older."""
        self.open()
        self.own.sample(older_than_s)
        self.pod.sample(older_than_s)

    def refresh(self, containers: Sequence[ContainerTarget]) -> None:
        """Read it and encode what was read.

        Args:
            containers: its containers, just refreshed.
        """
        self.open()
        usage = self.pod.read_encoded()
        if usage is not None:
            time_ns, processes = usage.time_ns, self.pod.processes()
            parts = [field(1, usage.cpu), field(2, usage.memory)]
            if usage.io:
                parts.append(field(6, usage.io))
        else:
            self.own.read()
            cgroups = [self.own, *(container.cgroup for container in containers)]
            message = cri.LinuxPodSandboxStats()
            processes = self._sum(message, [one for one in cgroups if one.usage is not None])
            time_ns, parts = message.cpu.timestamp, [message.SerializeToString()]
        if time_ns:
            process = cri.ProcessUsage(timestamp=time_ns)
            process.process_count.value = processes
            parts.append(field(4, process.SerializeToString()))
        if self.subject.own_network and self.process:
            interfaces = self.process.net_dev()
            if interfaces:
                network = network_usage(time.time_ns(), interfaces)
                parts.append(field(3, network.SerializeToString()))
        parts += (field(5, container.message) for container in containers)
        self.entry = field(1, self.subject.attributes + field(2, b"".join(parts)))
        self.read_at = time.monotonic()

    def _sum(self, message: cri.LinuxPodSandboxStats, parts: list[CgroupTarget]) -> int:
        """Fill a pod's message from its containers' cgroups; returns the count of processes."""
        usages = [part.usage for part in parts if part.usage is not None]
        if not usages:
            return 0
        message.cpu.timestamp = message.memory.timestamp = min(usage.time_ns for usage in usages)
        message.cpu.usage_core_nano_seconds.value = self.ended_cpu_ns + sum(
            usage.cpu_ns for usage in usages
        )
        message.cpu.usage_nano_cores.value = sum(part.nano_cores or 0 for part in parts)
        memory = message.memory
        memory.usage_bytes.value = sum(usage.memory_bytes for usage in usages)
        memory.working_set_bytes.value = sum(usage.working_set_bytes for usage in usages)
        memory.rss_bytes.value = sum(usage.rss_bytes for usage in usages)
        memory.page_faults.value = sum(usage.page_faults for usage in usages)
        memory.major_page_faults.value = sum(usage.major_page_faults for usage in usages)
        return sum(part.processes() for part in parts)

    def close(self) -> None:
        """Close everything, for good."""
        self.is_closed = True
        self.own.end()
        self.pod.end()
        if self.process is not None:
            self.process.close()
