"""CRI messages out of readings.

A subject's attributes never change, so they are encoded once; the rest is joined to them as bytes
(protobuf: fields of one message may be written one after the other)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import Message

from asupervisor.proto import cri
from asupervisor.proto.wire import field
from asupervisor.stats.cgroup import Usage, parse_pressure
from asupervisor.stats.network import InterfaceCounters
from asupervisor.stats.subjects import LayerUsage

DEFAULT_INTERFACE = "eth0"
"""What CNI and the engine's own network call a pod's interface."""


class EncodedUsage(NamedTuple):
    """One reading of one cgroup, as the CRI has it.

    Attributes:
        time_ns: Unix time of the reading, nanoseconds.
        cpu, memory: a CpuUsage and a MemoryUsage.
        swap: a SwapUsage; empty where the kernel does not account swap.
        io: an IoUsage; empty where the kernel has no pressure figures.
    """

    time_ns: int
    cpu: bytes
    memory: bytes
    swap: bytes
    io: bytes


class UsageEncoder:
    """Encodes the readings of one cgroup. Between two of them it keeps bytes, not messages, which
    take five times as much memory.
    """

    __slots__ = ("_layer", "_pressure", "_seen_layer")

    def __init__(self) -> None:
        self._seen_layer: tuple[LayerUsage, str] | None = None
        self._layer = b""
        self._pressure: tuple[tuple[bytes, bytes], ...] = ((b"", b""),) * 3
        """The kernel's text of CPU, memory and I/O pressure, and each as a PsiStats."""

    def encode(self, usage: Usage, nano_cores: int | None) -> EncodedUsage:
        """Encode one reading.

        Args:
            usage: the reading.
            nano_cores: the CPU rate; None where there is none.
        """
        time_ns = usage.time_ns
        texts = (usage.cpu_pressure, usage.memory_pressure, usage.io_pressure)
        self._pressure = tuple(
            kept if text == kept[0] else (text, _pressure(text))
            for text, kept in zip(texts, self._pressure, strict=True)
        )
        cpu_psi, memory_psi, io_psi = (encoded for _, encoded in self._pressure)
        cpu = cri.CpuUsage(timestamp=time_ns)
        cpu.usage_core_nano_seconds.value = usage.cpu_ns
        if nano_cores is not None:
            cpu.usage_nano_cores.value = nano_cores
        memory = cri.MemoryUsage(timestamp=time_ns)
        memory.usage_bytes.value = usage.memory_bytes
        memory.working_set_bytes.value = usage.working_set_bytes
        memory.rss_bytes.value = usage.rss_bytes
        memory.page_faults.value = usage.page_faults
        memory.major_page_faults.value = usage.major_page_faults
        if usage.memory_limit_bytes >= 0:
            available = max(0, usage.memory_limit_bytes - usage.working_set_bytes)
            memory.available_bytes.value = available
        return EncodedUsage(
            time_ns,
            _with(cpu, cri.CpuUsage.PSI_FIELD_NUMBER, cpu_psi),
            _with(memory, cri.MemoryUsage.PSI_FIELD_NUMBER, memory_psi),
            _swap(usage) if usage.swap_bytes >= 0 else b"",
            _with(cri.IoUsage(timestamp=time_ns), cri.IoUsage.PSI_FIELD_NUMBER, io_psi)
            if usage.io_pressure
            else b"",
        )

    def layer(self, layer: LayerUsage | None, time_ns: int, mountpoint: str) -> bytes:
        """The writable layer as field 4 of a ContainerStats; encoded again after a new walk."""
        if layer is None:
            return _layer(None, time_ns, mountpoint)
        if self._seen_layer != (layer, mountpoint):
            self._seen_layer, self._layer = (layer, mountpoint), _layer(layer, time_ns, mountpoint)
        return self._layer


def _with(message: Message, number: int, encoded: bytes) -> bytes:
    """A message with one more field that is encoded already, where it is not empty."""
    return message.SerializeToString() + (field(number, encoded) if encoded else b"")


def _swap(usage: Usage) -> bytes:
    swap = cri.SwapUsage(timestamp=usage.time_ns)
    swap.swap_usage_bytes.value = usage.swap_bytes
    if usage.swap_limit_bytes >= 0:
        swap.swap_available_bytes.value = max(0, usage.swap_limit_bytes - usage.swap_bytes)
    return swap.SerializeToString()


def _pressure(text: bytes) -> bytes:
    psi = cri.PsiStats()
    for name, line in parse_pressure(text).items():
        data = psi.Full if name == "full" else psi.Some
        data.Total, data.Avg10 = line.total_ns, line.avg10
        data.Avg60, data.Avg300 = line.avg60, line.avg300
    return psi.SerializeToString()


def container_stats(attributes: bytes, usage: EncodedUsage, layer: bytes) -> bytes:
    """A ContainerStats message of a running container.

    Args:
        attributes: encoded as field 1.
        usage: the reading.
        layer: the writable layer, encoded as field 4.
    """
    parts = [attributes, field(2, usage.cpu), field(3, usage.memory), layer]
    if usage.swap:
        parts.append(field(5, usage.swap))
    if usage.io:
        parts.append(field(6, usage.io))
    return b"".join(parts)


def stopped_container_stats(
    attributes: bytes, layer: LayerUsage | None, time_ns: int, mountpoint: str
) -> bytes:
    """A ContainerStats message of a container that does not run: its writable layer."""
    return attributes + _layer(layer, time_ns, mountpoint)


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
