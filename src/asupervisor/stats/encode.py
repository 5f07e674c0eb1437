"""CRI messages out of readings.

A subject's attributes never change, so they are encoded once; the rest is a message that is filled
anew and joined to them as bytes (protobuf: fields of one message may be written one after the
other)."""

from __future__ import annotations

from collections.abc import Iterable

from asupervisor.proto import cri
from asupervisor.proto.wire import field
from asupervisor.stats.cgroup import Usage, parse_pressure
from asupervisor.stats.network import InterfaceCounters
from asupervisor.stats.subjects import LayerUsage

DEFAULT_INTERFACE = "eth0"
"""What CNI and the engine's own network call a pod's interface."""


class _Pressure:
    """One PsiStats field that is parsed again only when the kernel's text changed."""

    __slots__ = ("_seen", "_stats")

    def __init__(self) -> None:
        self._seen = b""
        self._stats: cri.PsiStats | None = None

    def set(self, target: cri.CpuUsage | cri.MemoryUsage | cri.IoUsage, content: bytes) -> None:
        if content == self._seen:
            return
        self._seen = content
        target.ClearField("psi")
        if not content:
            return
        for name, line in parse_pressure(content).items():
            data = target.psi.Full if name == "full" else target.psi.Some
            data.Total, data.Avg10 = line.total_ns, line.avg10
            data.Avg60, data.Avg300 = line.avg60, line.avg300


class UsageFields:
    """The cpu, memory and io messages of one cgroup, filled from its readings."""

    __slots__ = (
        "_cpu_psi",
        "_io_psi",
        "_layer",
        "_memory_psi",
        "_seen_layer",
        "cpu",
        "io",
        "memory",
        "swap",
    )

    def __init__(self) -> None:
        self.cpu, self.memory = cri.CpuUsage(), cri.MemoryUsage()
        self.io, self.swap = cri.IoUsage(), cri.SwapUsage()
        self._seen_layer: tuple[LayerUsage, str] | None = None
        self._layer = b""
        self._cpu_psi, self._memory_psi, self._io_psi = _Pressure(), _Pressure(), _Pressure()

    def set(self, usage: Usage, nano_cores: int | None) -> None:
        """Take over one reading.

        Args:
            usage: the reading.
            nano_cores: the CPU rate; None where there is none.
        """
        cpu, memory, io = self.cpu, self.memory, self.io
        cpu.timestamp = memory.timestamp = io.timestamp = usage.time_ns
        cpu.usage_core_nano_seconds.value = usage.cpu_ns
        if nano_cores is None:
            cpu.ClearField("usage_nano_cores")
        else:
            cpu.usage_nano_cores.value = nano_cores
        memory.usage_bytes.value = usage.memory_bytes
        memory.working_set_bytes.value = usage.working_set_bytes
        memory.rss_bytes.value = usage.rss_bytes
        memory.page_faults.value = usage.page_faults
        memory.major_page_faults.value = usage.major_page_faults
        if usage.memory_limit_bytes >= 0:
            memory.available_bytes.value = max(
                0, usage.memory_limit_bytes - usage.working_set_bytes
            )
        else:
            memory.ClearField("available_bytes")
        if usage.swap_bytes >= 0:
            swap = self.swap
            swap.timestamp = usage.time_ns
            swap.swap_usage_bytes.value = usage.swap_bytes
            if usage.swap_limit_bytes >= 0:
                swap.swap_available_bytes.value = max(0, usage.swap_limit_bytes - usage.swap_bytes)
            else:
                swap.ClearField("swap_available_bytes")
        self._cpu_psi.set(cpu, usage.cpu_pressure)
        self._memory_psi.set(memory, usage.memory_pressure)
        self._io_psi.set(io, usage.io_pressure)

    def layer(self, layer: LayerUsage | None, time_ns: int, mountpoint: str) -> bytes:
        """The writable layer as field 4 of a ContainerStats; encoded again after a new walk."""
        if layer is None:
            return _layer(None, time_ns, mountpoint)
        if self._seen_layer != (layer, mountpoint):
            self._seen_layer, self._layer = (layer, mountpoint), _layer(layer, time_ns, mountpoint)
        return self._layer


def container_stats(
    first_field: bytes, fields: UsageFields, usage: Usage, layer: LayerUsage | None, mountpoint: str
) -> bytes:
    """A ContainerStats message of a running container.

    Args:
        first_field: its attributes, encoded as field 1.
        fields: already filled from ``usage``.
        usage: the reading.
        layer: the writable layer's size; None while it is not known.
        mountpoint: of the file system that the layer is on.
    """
    parts = [
        first_field,
        field(2, fields.cpu.SerializeToString()),
        field(3, fields.memory.SerializeToString()),
        fields.layer(layer, usage.time_ns, mountpoint),
    ]
    if usage.swap_bytes >= 0:
        parts.append(field(5, fields.swap.SerializeToString()))
    if usage.io_pressure:
        parts.append(field(6, fields.io.SerializeToString()))
    return b"".join(parts)


def stopped_container_stats(
    first_field: bytes, layer: LayerUsage | None, time_ns: int, mountpoint: str
) -> bytes:
    """A ContainerStats message of a container that does not run: its writable layer."""
    return first_field + _layer(layer, time_ns, mountpoint)


def _layer(layer: LayerUsage | None, time_ns: int, mountpoint: str) -> bytes:
    usage = cri.FilesystemUsage(timestamp=layer.time_ns if layer else time_ns)
    if mountpoint:
        usage.fs_id.mountpoint = mountpoint
    if layer is not None:
        usage.used_bytes.value, usage.inodes_used.value = layer.used_bytes, layer.inodes
    return field(4, usage.SerializeToString())


def network_usage(time_ns: int, interfaces: Iterable[InterfaceCounters]) -> cri.NetworkUsage:
    """A pod's interfaces: ``eth0``, else the first one, is the default one, which CRI keeps out of
    the list of the others.
    """
    message = cri.NetworkUsage(timestamp=time_ns)
    rest = list(interfaces)
    default = next(
        (counters for counters in rest if counters.name == DEFAULT_INTERFACE),
        rest[0] if rest else None,
    )
    for counters in rest:
        target = message.default_interface if counters is default else message.interfaces.add()
        target.name = counters.name
        target.rx_bytes.value, target.rx_errors.value = counters.rx_bytes, counters.rx_errors
        target.tx_bytes.value, target.tx_errors.value = counters.tx_bytes, counters.tx_errors
    return message
