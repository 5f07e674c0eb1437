"""A pod's metrics by cAdvisor's names: what ListPodSandboxMetrics answers.

CRI carries every value as a whole number, so metrics in seconds are whole seconds. Values are read
when asked for, so that their timestamp is 0, as CRI wants it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from asupervisor.proto.wire import field
from asupervisor.stats.container_process import open_files
from asupervisor.stats.details import Figure, device_name
from asupervisor.stats.metrics import MetricEncoder
from asupervisor.stats.network import InterfaceCounters
from asupervisor.stats.subjects import LayerUsage
from asupervisor.stats.targets import ContainerTarget, SandboxTarget

_SECOND_NS = 1_000_000_000
_NETWORK_FIGURES = ("bytes", "packets", "errors", "packets_dropped")

LayerSize = Callable[[str], LayerUsage | None]
"""Gives the size of a container's writable layer."""


class Filesystem:
    """The file system that writable layers are on, read once for all containers of an answer.

    Args:
        mountpoint: empty when unknown.
    """

    def __init__(self, mountpoint: str) -> None:
        self._rest: list[Figure] = []
        self._name = ""
        try:
            figures, device = os.statvfs(mountpoint), os.stat(mountpoint).st_dev
        except OSError:
            return
        self._name = device_name(f"{os.major(device)}:{os.minor(device)}")
        for what, value in (
            ("limit_bytes", figures.f_blocks * figures.f_frsize),
            ("inodes_total", figures.f_files),
            ("inodes_free", figures.f_ffree),
        ):
            self._rest.append(Figure(f"container_fs_{what}", value, (self._name,)))

    def figures(self, used_bytes: int) -> list[Figure]:
        """Of a container whose writable layer takes ``used_bytes``."""
        return (
            [Figure("container_fs_usage_bytes", used_bytes, (self._name,)), *self._rest]
            if self._rest
            else []
        )


def pod_metrics(
    sandbox: SandboxTarget,
    containers: list[ContainerTarget],
    layer: LayerSize,
    filesystem: Filesystem,
) -> bytes:
    """Read one pod and encode it as field 1 of a ListPodSandboxMetricsResponse.

    The pod's own metrics carry an empty ``container`` label, as those of a pod's cgroup did; those
    of its network carry ``POD``, as they belonged to the pause container.

    Args:
        sandbox: the pod's sandbox.
        containers: its containers.
        layer: see :data:`LayerSize`.
        filesystem: that writable layers are on.
    """
    subject = sandbox.subject
    pod = (subject.namespace, subject.pod_name)
    sandbox.open()
    parts = [field(1, subject.sandbox_id.encode())]
    if sandbox.process:
        parent = sandbox.process.parent
        parts += sandbox.pod.read_metrics(parent, ("", parent.path, "", "", *pod), sandbox.budget)
        if subject.own_network:
            labels = (
                "POD",
                sandbox.process.cgroup.path,
                subject.image,
                subject.name,
                *pod,
            )
            interfaces = sandbox.process.net_dev()
            encoder = sandbox.network_metrics = sandbox.network_metrics or MetricEncoder(labels)
            parts.append(encoder.kept("network", interfaces, lambda: _network(interfaces)))
    for container in containers:
        parts.append(field(3, _container(container, pod, layer, filesystem)))
    return field(1, b"".join(parts))


def _container(
    target: ContainerTarget, pod: tuple[str, str], layer: LayerSize, filesystem: Filesystem
) -> bytes:
    subject = target.subject
    target.open()
    name = field(1, subject.container_id.encode())
    if not target.process:
        return name
    process = target.process
    labels = (
        subject.container_name,
        process.cgroup.path,
        subject.image,
        subject.name,
        *pod,
    )
    parts = target.cgroup.read_metrics(process.cgroup, labels, target.budget)
    metrics = target.cgroup.metrics
    if metrics is None:
        return name
    pids = metrics.details.pids()
    files, sockets = open_files(pids)
    limit = process.soft_limit("Max open files")
    size = layer(subject.container_id)
    counts = (len(pids), files, sockets, limit)
    kept = metrics.encoder.kept
    parts += (
        kept("counts", counts, lambda: _counts(*counts)),
        kept(
            "start",
            subject.started_at_ns,
            lambda: [Figure("container_start_time_seconds", subject.started_at_ns // _SECOND_NS)],
        ),
        metrics.encoder.encode([Figure("container_last_seen", int(time.time()))]),
        metrics.encoder.encode(filesystem.figures(size.used_bytes if size else 0)),
    )
    return name + b"".join(parts)


def _counts(processes: int, files: int, sockets: int, limit: int) -> list[Figure]:
    return [
        Figure("container_processes", processes),
        Figure("container_file_descriptors", files),
        Figure("container_sockets", sockets),
        Figure("container_ulimits_soft", limit if limit >= 0 else None, ("max_open_files",)),
    ]


def _network(interfaces: list[InterfaceCounters]) -> Iterator[Figure]:
    for one in interfaces:
        for way, counted, dropped in (
            ("receive", one[1:4], one.rx_packets_dropped),
            ("transmit", one[5:8], one.tx_packets_dropped),
        ):
            for what, value in zip(_NETWORK_FIGURES, (*counted, dropped), strict=True):
                yield Figure(f"container_network_{way}_{what}_total", value, (one.name,))
