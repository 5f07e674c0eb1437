"""Metric messages of one subject: encoded again only as far as the kernel's figures changed since
the last reading.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator

from asupervisor.proto.wire import field, varint
from asupervisor.stats.cgroup import Usage, parse_pressure
from asupervisor.stats.details import Details, Figure
from asupervisor.stats.kernel_files import Gone
from asupervisor.stats.metric_descriptors import METRICS, Kind

_SECOND_NS = 1_000_000_000
_MOST_BEGINNINGS = 1024
"""Encoded beginnings that are kept for one subject: a pod that may configure its network can rename
its interfaces again and again, and each name has eight.
"""


class MetricEncoder:
    """Encodes the Metric messages of one subject, as field 2 of their parent.

    Args:
        labels: values of the base labels, in the order of
            :data:`~asupervisor.stats.metric_descriptors.BASE`.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._beginnings: dict[tuple[str, ...], bytes] = {}
        self._kept: dict[object, tuple[object, bytes]] = {}

    def encode(self, figures: Iterable[Figure]) -> bytes:
        """Some metrics, one after the other; a value of None gives none."""
        parts: list[bytes] = []
        for name, value, labels in figures:
            if value is None:
                continue
            beginning = self._beginnings.get((name, *labels))
            if beginning is None:
                if len(self._beginnings) >= _MOST_BEGINNINGS:
                    self._beginnings.clear()
                kind = b"\x18\x01" if METRICS[name][0] is Kind.GAUGE else b""
                values = b"".join(field(4, label.encode()) for label in (*self._labels, *labels))
                beginning = self._beginnings[name, *labels] = (
                    field(1, name.encode()) + kind + values
                )
            content = field(5, b"\x08" + varint(value)) if value else b"*\0"
            parts += (b"\x12", varint(len(beginning) + len(content)), beginning, content)
        return b"".join(parts)

    def kept(
        self, section: Hashable, seen: object, figures: Callable[[], Iterable[Figure]]
    ) -> bytes:
        """What was encoded for a section before where that was for the same ``seen``, else
        :meth:`encode` of its figures.
        """
        known = self._kept.get(section)
        if known is None or known[0] != seen:
            known = self._kept[section] = seen, self.encode(figures())
        return known[1]


class CgroupMetrics:
    """The metrics of one cgroup.

    Args:
        labels: see :class:`MetricEncoder`.
        details: the files of it that the CRI stats do not need.
    """

    def __init__(self, labels: tuple[str, ...], details: Details) -> None:
        self.encoder = MetricEncoder(labels)
        self.details = details
        self._seen: list[list[bytes]] = [[] for _ in details.sections]
        """The contents of each section that stand encoded in ``_encoded``."""
        self._encoded = [b""] * len(details.sections)

    def read(self, usage: Usage) -> list[bytes]:
        """The metrics that every cgroup has.

        Args:
            usage: just read.
        """
        kept = self.encoder.kept
        cpu_s = usage.cpu_ns // _SECOND_NS
        parts = [
            kept(
                "cpu",
                cpu_s,
                lambda: [Figure("container_cpu_usage_seconds_total", cpu_s, ("total",))],
            ),
            kept("memory", usage[2:10], lambda: _memory(usage)),
            kept("pressure", usage[10:], lambda: _pressure(usage)),
        ]
        for index, section in enumerate(self.details.sections):
            try:
                contents = [source() for source in section.sources]
            except Gone:
                # Its directory under this controller is missing; whether all of the cgroup is, the
                # next reading of its use tells.
                contents = [b""] * len(section.sources)
            if contents != self._seen[index]:
                self._encoded[index] = self.encoder.encode(section.parse(*contents))
                self._seen[index] = contents
        parts += self._encoded
        return parts


def _memory(usage: Usage) -> list[Figure]:
    figures = [
        Figure("container_memory_usage_bytes", usage.memory_bytes),
        Figure("container_memory_working_set_bytes", usage.working_set_bytes),
        Figure("container_memory_rss", usage.rss_bytes),
        Figure("container_memory_swap", max(0, usage.swap_bytes)),
    ]
    faults = (("pgfault", usage.page_faults), ("pgmajfault", usage.major_page_faults))
    for scope in ("container", "hierarchy"):
        for kind, count in faults:
            figures.append(Figure("container_memory_failures_total", count, (kind, scope)))
    return figures


def _pressure(usage: Usage) -> Iterator[Figure]:
    for resource, content in (
        ("cpu", usage.cpu_pressure),
        ("memory", usage.memory_pressure),
        ("io", usage.io_pressure),
    ):
        lines = parse_pressure(content)
        for line, word in (("full", "stalled"), ("some", "waiting")):
            if line in lines:
                yield Figure(
                    f"container_pressure_{resource}_{word}_seconds_total",
                    lines[line].total_ns // _SECOND_NS,
                )
