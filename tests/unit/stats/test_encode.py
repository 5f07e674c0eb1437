"""Hand-made parts of protobuf messages against the library's."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from asupervisor.proto import cri
from asupervisor.proto.wire import field
from asupervisor.stats.cgroup import Usage
from asupervisor.stats.details import Figure
from asupervisor.stats.encode import (
    UsageEncoder,
    container_stats,
    network_usage,
    stopped_container_stats,
)
from asupervisor.stats.metric_descriptors import METRICS, descriptors_response
from asupervisor.stats.metrics import MetricEncoder
from asupervisor.stats.network import InterfaceCounters, parse_net_dev
from asupervisor.stats.subjects import LayerUsage

PRESSURE = (
    b"some avg10=1.50 avg60=0.25 avg300=0.00 total=2500\nfull avg10=0.10 avg60=0.00 avg300=0.00"
    b" total=7\n"
)
USAGE = Usage(5, 6, 100, 80, 30, 4, 0, 120, 7, 9, PRESSURE, b"", PRESSURE)


@given(st.integers(0, 40_000).map(lambda size: b"x" * size), st.integers(1, 15))
def test_a_field_is_what_the_library_reads(content: bytes, number: int) -> None:
    encoded = field(number, content)
    assert encoded[0] == number << 3 | 2
    assert cri.ContainerStatsResponse.FromString(field(1, b"")) == cri.ContainerStatsResponse(
        stats=cri.ContainerStats()
    )
    log = cri.ExecSyncResponse.FromString(field(1, content))
    assert log.stdout == content


def test_container_stats_have_every_field() -> None:
    attributes = cri.ContainerAttributes(id="c", labels={"a": "b"})
    encoder = UsageEncoder()
    encoded = container_stats(
        field(1, attributes.SerializeToString()),
        encoder.encode(USAGE, 250),
        encoder.layer(LayerUsage(11, 12, 13), USAGE.time_ns, "/data"),
    )
    pressure = cri.PsiStats(
        Some=cri.PsiData(Total=2_500_000, Avg10=1.5, Avg60=0.25, Avg300=0.0),
        Full=cri.PsiData(Total=7000, Avg10=0.1, Avg60=0.0, Avg300=0.0),
    )

    def number(value: int) -> cri.UInt64Value:
        return cri.UInt64Value(value=value)

    assert cri.ContainerStats.FromString(encoded) == cri.ContainerStats(
        attributes=attributes,
        cpu=cri.CpuUsage(
            timestamp=5,
            usage_core_nano_seconds=number(6),
            usage_nano_cores=number(250),
            psi=pressure,
        ),
        memory=cri.MemoryUsage(
            timestamp=5,
            working_set_bytes=number(80),
            available_bytes=number(40),
            usage_bytes=number(100),
            rss_bytes=number(30),
            page_faults=number(4),
            major_page_faults=number(0),
        ),
        writable_layer=cri.FilesystemUsage(
            timestamp=11,
            fs_id=cri.FilesystemIdentifier(mountpoint="/data"),
            used_bytes=number(12),
            inodes_used=number(13),
        ),
        swap=cri.SwapUsage(timestamp=5, swap_usage_bytes=number(7), swap_available_bytes=number(2)),
        io=cri.IoUsage(timestamp=5, psi=pressure),
    )


def test_what_is_not_known_is_not_there() -> None:
    encoder = UsageEncoder()
    encoder.encode(USAGE, 1)
    usage = USAGE._replace(memory_limit_bytes=-1, swap_bytes=-1, cpu_pressure=b"", io_pressure=b"")
    stats = cri.ContainerStats.FromString(
        container_stats(b"", encoder.encode(usage, None), encoder.layer(None, 5, ""))
    )
    assert not stats.cpu.HasField("usage_nano_cores") and not stats.cpu.HasField("psi")
    assert not stats.memory.HasField("available_bytes")
    assert not stats.HasField("swap") and not stats.HasField("io")
    assert stats.writable_layer == cri.FilesystemUsage(timestamp=5)
    stopped = cri.ContainerStats.FromString(
        stopped_container_stats(b"", LayerUsage(1, 2, 3), 9, "/data")
    )
    assert (
        not stopped.HasField("cpu")
        and not stopped.HasField("memory")
        and stopped.writable_layer.used_bytes.value == 2
    )


def test_a_working_set_above_the_limit_leaves_nothing() -> None:
    encoded = UsageEncoder().encode(USAGE._replace(memory_limit_bytes=10), 1)
    memory = cri.MemoryUsage.FromString(encoded.memory)
    assert memory.available_bytes.value == 0 and memory.HasField("available_bytes")


def test_pressure_is_told_anew_when_it_changes() -> None:
    encoder = UsageEncoder()
    again = [encoder.encode(USAGE, 1).cpu for _ in range(2)]
    assert again[0] == again[1]
    changed = PRESSURE.replace(b"2500", b"2600")
    psi = cri.CpuUsage.FromString(encoder.encode(USAGE._replace(cpu_pressure=changed), 1).cpu).psi
    assert (psi.Some.Total, psi.Full.Total) == (2_600_000, 7000)


NET_DEV = b"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0:    1111      22    3    4    0     0          0         0     5555      66    7    8    0     0       0          0
eth0:1:       1       2    3    4    0     0          0         0        5       6    7    8    0     0       0          0
"""


def test_interfaces() -> None:
    interfaces = parse_net_dev(NET_DEV)
    assert interfaces == [
        InterfaceCounters("eth0", 1111, 22, 3, 4, 5555, 66, 7, 8),
        InterfaceCounters("eth0:1", 1, 2, 3, 4, 5, 6, 7, 8),
    ]
    usage = network_usage(5, reversed(interfaces))
    assert usage.default_interface.name == "eth0" and [one.name for one in usage.interfaces] == [
        "eth0:1"
    ]
    assert (usage.default_interface.rx_bytes.value, usage.default_interface.tx_errors.value) == (
        1111,
        7,
    )
    assert network_usage(5, interfaces[1:]).default_interface.name == "eth0:1", (
        "the first one where there is no eth0"
    )
    assert parse_net_dev(b"") == []


def test_a_pod_that_makes_interfaces_cannot_fill_the_message_of_all_pods() -> None:
    heads, counters = NET_DEV.split(b"\n")[:2], b": 1 22 3 4 0 0 0 0 5555 66 7 8 0 0 0 0"
    many = [b"e%d" % number + counters for number in range(10_000)]
    assert len(parse_net_dev(b"\n".join([*heads, *many]))) == 64
    alike = [name + counters for name in (b"e\xff", b"e\xfe", b"\xc3\xa9")]
    names = [one.name for one in parse_net_dev(b"\n".join([*heads, *alike]))]
    assert names == ["e\ufffd", "\xe9"], "a metric with the same labels twice spoils a scrape"


def test_names_that_change_for_ever_are_not_kept_for_ever() -> None:
    encoder = MetricEncoder(("POD", "/id", "i", "n", "ns", "p"))
    tracemalloc.start()
    try:
        for number in range(20_000):
            name = f"e{number}"
            encoder.encode([Figure("container_network_receive_bytes_total", 1, (name,))])
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.integers(0, 2**64 - 1), st.text(max_size=300))
def test_metrics_are_what_the_library_reads(value: int, label: str) -> None:
    labels = ("c", "/id", label, "n", "ns", "p")
    encoder = MetricEncoder(labels)
    figures = [
        Figure("container_memory_rss", value),
        Figure("container_cpu_usage_seconds_total", 0, ("total",)),
        Figure("container_memory_swap", None),
    ]
    for _ in range(2):  # the second time from what was kept
        assert list(cri.ContainerMetrics.FromString(encoder.encode(figures)).metrics) == [
            cri.Metric(
                name="container_memory_rss",
                metric_type=cri.GAUGE,
                label_values=labels,
                value=cri.UInt64Value(value=value),
            ),
            cri.Metric(
                name="container_cpu_usage_seconds_total",
                label_values=(*labels, "total"),
                value=cri.UInt64Value(value=0),
            ),
        ]


def test_a_section_is_encoded_again_when_something_else_is_seen() -> None:
    encoder = MetricEncoder(("c", "/id", "i", "n", "ns", "p"))

    def kept(section: str, value: int) -> int:
        encoded = encoder.kept(section, value, lambda: [Figure("container_memory_rss", value)])
        return cri.ContainerMetrics.FromString(encoded).metrics[0].value.value

    assert [
        kept("one", 1),
        kept("two", 5),
        kept("one", 2),
        kept("one", 2),
        kept("two", 5),
        kept("one", 1),
    ] == [1, 5, 2, 2, 5, 1]


def test_descriptors() -> None:
    descriptors = cri.ListMetricDescriptorsResponse.FromString(descriptors_response()).descriptors
    assert [descriptor.name for descriptor in descriptors] == sorted(METRICS)
    for descriptor in descriptors:
        assert descriptor.help and descriptor.label_keys[:6] == [
            "container",
            "id",
            "image",
            "name",
            "namespace",
            "pod",
        ]
