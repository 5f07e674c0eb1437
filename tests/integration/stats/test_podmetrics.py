"""cAdvisor's metrics of running containers against the engine's own stats, the kernel's files and
known loads.
"""

from __future__ import annotations

import os
from typing import Any

import anyio
import pytest

from asupervisor.proto import cri
from asupervisor.stats.metric_descriptors import METRICS
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ImageFilesystem
from tests.harness.engine import eventually
from tests.integration.stats.conftest import Pods, sandbox_subject, subject

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs a Docker Engine")

Values = dict[tuple[str, ...], int]
"""By name and the labels after the base ones."""


def metrics_of(
    pods: Pods, pause: dict[str, Any], *containers: dict[str, Any]
) -> tuple[Values, list[Values]]:
    """The pod's metrics and those of each container."""
    stats = Stats(max_age_s=0.0)
    root = pods.engine.request("GET", "/info")[1]["DockerRootDir"]
    stats.set_image_filesystem(ImageFilesystem(1, root))
    stats.put_sandbox(sandbox_subject(pause, own_cgroup=True))
    for container in containers:
        stats.put_container(subject(container, pause["Id"]))

    async def read() -> bytes:
        return b"".join(await stats.sandbox_metrics())

    pod = cri.ListPodSandboxMetricsResponse.FromString(anyio.run(read)).pod_metrics[0]
    stats.close()
    return values(pod.metrics), [values(container.metrics) for container in pod.container_metrics]


def values(metrics: Any) -> Values:
    found: Values = {}
    for metric in metrics:
        base = len(METRICS["container_last_seen"][2])
        assert len(metric.label_values) == len(METRICS[metric.name][2]), metric.name
        key = (metric.name, *metric.label_values[base:])
        assert key not in found or metric.name.startswith("container_network"), key
        found[key] = metric.value.value
    return found


@pytest.fixture
def pause(pods: Pods) -> dict[str, Any]:
    return pods.container("sleep 1000", CgroupParent=pods.cgroup_parent())


def test_limits_and_throttling_against_the_engine(pods: Pods, pause: dict[str, Any]) -> None:
    busy = pods.container(
        "while :; do head -c 100000 /dev/urandom >/dev/null; done",
        CpuPeriod=50_000,
        CpuQuota=10_000,
        CpuShares=512,
        Memory=64 << 20,
        MemoryReservation=32 << 20,
        MemorySwap=80 << 20,
        PidsLimit=77,
        Ulimits=[{"Name": "nofile", "Soft": 1234, "Hard": 2000}],
    )
    eventually(
        lambda: pods.stats(busy)["cpu_stats"]["throttling_data"]["throttled_periods"] > 20,
        "throttling",
    )
    before = pods.stats(busy)["cpu_stats"]
    mine = metrics_of(pods, pause, busy)[1][0]
    after = pods.stats(busy)["cpu_stats"]

    def between(low: int, name: str, high: int) -> None:
        assert low <= mine[name,] <= high, name

    between(
        before["throttling_data"]["periods"],
        "container_cpu_cfs_periods_total",
        after["throttling_data"]["periods"],
    )
    throttled = "container_cpu_cfs_throttled_periods_total"
    between(
        before["throttling_data"]["throttled_periods"],
        throttled,
        after["throttling_data"]["throttled_periods"],
    )
    seconds = [reading["throttling_data"]["throttled_time"] // 10**9 for reading in (before, after)]
    between(seconds[0], "container_cpu_cfs_throttled_seconds_total", seconds[1])
    for mode, name in (("usage_in_usermode", "user"), ("usage_in_kernelmode", "system")):
        low, high = (reading["cpu_usage"][mode] // 10**9 for reading in (before, after))
        assert low - 1 <= mine[f"container_cpu_{name}_seconds_total",] <= high + 1, (
            "the engine splits by ticks"
        )
    low, high = (reading["cpu_usage"]["total_usage"] // 10**9 for reading in (before, after))
    assert low <= mine["container_cpu_usage_seconds_total", "total"] <= high
    assert mine["container_spec_cpu_period",] == 50_000
    assert mine["container_spec_cpu_quota",] == 10_000
    assert abs(mine["container_spec_cpu_shares",] - 512) < 30, (
        "cgroup v2 has weights, which are fewer"
    )
    assert mine["container_spec_memory_limit_bytes",] == 64 << 20
    assert mine["container_spec_memory_reservation_limit_bytes",] == 32 << 20
    assert mine["container_spec_memory_swap_limit_bytes",] in (
        80 << 20,
        16 << 20,
    ), "with memory in cgroup v1, without in v2"
    assert mine["container_threads_max",] == 77
    assert mine["container_ulimits_soft", "max_open_files"] == 1234
    assert (
        mine["container_memory_usage_bytes",]
        <= mine["container_memory_max_usage_bytes",]
        <= 64 << 20
    )


def test_memory_against_the_engine(pods: Pods, pause: dict[str, Any]) -> None:
    holder = pods.container(
        "dd if=/dev/zero of=/big bs=1M count=16 2>/dev/null; sync; cat /big >/dev/null; echo"
        " >/ready; exec sleep 1000"
    )
    eventually(lambda: pods.run(holder, "ls /ready 2>/dev/null || true"), "a page cache")

    def settled() -> tuple[Values, dict[str, Any]] | None:
        before = pods.stats(holder)["memory_stats"]
        mine = metrics_of(pods, pause, holder)[1][0]
        return (mine, before) if pods.stats(holder)["memory_stats"] == before else None

    mine, theirs = eventually(settled, "memory at rest")
    detail = theirs["stats"]
    legacy = "total_rss" in detail
    for name, old, new in (
        ("container_memory_cache", "total_cache", "file"),
        ("container_memory_rss", "total_rss", "anon"),
        ("container_memory_mapped_file", "total_mapped_file", "file_mapped"),
        ("container_memory_total_active_file_bytes", "total_active_file", "active_file"),
        ("container_memory_total_inactive_file_bytes", "total_inactive_file", "inactive_file"),
    ):
        assert mine[name,] == detail[old if legacy else new], name
    for scope in ("container", "hierarchy"):
        assert (
            mine["container_memory_failures_total", "pgfault", scope]
            == detail["total_pgfault" if legacy else "pgfault"]
        )
        assert (
            mine["container_memory_failures_total", "pgmajfault", scope]
            == detail["total_pgmajfault" if legacy else "pgmajfault"]
        )
    assert mine["container_memory_cache",] >= 16 << 20
    if legacy:
        assert mine["container_memory_max_usage_bytes",] == theirs["max_usage"]
        assert mine["container_memory_failcnt",] == theirs.get("failcnt", 0)
    assert mine["container_memory_swap",] == 0


def test_a_kill_for_want_of_memory_is_counted(pods: Pods, pause: dict[str, Any]) -> None:
    victim = pods.container(
        "while :; do dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; sleep 0.1; done",
        Memory=16 << 20,
        MemorySwap=16 << 20,
    )
    eventually(
        lambda: metrics_of(pods, pause, victim)[1][0]["container_oom_events_total",] > 0,
        "the kernel killed dd",
    )


def test_processes_threads_descriptors_and_sockets_of_a_known_load(
    pods: Pods, pause: dict[str, Any]
) -> None:
    container = pods.container("exec 7</dev/null 8</dev/null; nc -l -p 7777 & exec sleep 1000")

    def listening() -> Values | None:
        mine = metrics_of(pods, pause, container)[1][0]
        return mine if mine["container_sockets",] else None

    mine = eventually(listening, "nc listens")
    assert mine["container_processes",] == mine["container_threads",] == 2
    assert mine["container_sockets",] == 1
    expected = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in container_pids(pods, container))
    assert mine["container_file_descriptors",] == expected >= 4
    assert mine["container_start_time_seconds",] == subject(container).started_at_ns // 10**9
    assert mine["container_last_seen",] >= mine["container_start_time_seconds",]


def container_pids(pods: Pods, container: dict[str, Any]) -> list[int]:
    """As ``docker top`` says."""
    answer = pods.engine.request("GET", f"/containers/{container['Id']}/top")[1]
    column = answer["Titles"].index("PID")
    return [int(process[column]) for process in answer["Processes"]]


def test_file_system_against_the_kernel(pods: Pods, pause: dict[str, Any]) -> None:
    container = pods.container("exec sleep 1000")
    mine = metrics_of(pods, pause, container)[1][0]
    kernel = os.statvfs(pods.engine.request("GET", "/info")[1]["DockerRootDir"])
    by_name = {key[0]: value for key, value in mine.items() if key[0].startswith("container_fs_")}
    assert by_name["container_fs_limit_bytes"] == kernel.f_blocks * kernel.f_frsize
    assert by_name["container_fs_inodes_total"] == kernel.f_files
    assert abs(by_name["container_fs_inodes_free"] - kernel.f_ffree) < 10_000


def test_block_devices_against_the_engine(pods: Pods, pause: dict[str, Any]) -> None:
    writer = pods.container(
        "dd if=/dev/zero of=/data bs=1M count=8 conv=fsync 2>/dev/null; echo y >/ready; exec sleep"
        " 1000"
    )
    eventually(lambda: pods.run(writer, "cat /ready 2>/dev/null || true"), "written")
    theirs = pods.stats(writer)["blkio_stats"]["io_service_bytes_recursive"] or []
    written = {
        f"{entry['major']}:{entry['minor']}": entry["value"]
        for entry in theirs
        if entry["op"].lower() == "write"
    }
    if not any(written.values()):
        pytest.skip("this kernel does not account the disk under the engine's data to cgroups")
    mine = metrics_of(pods, pause, writer)[1][0]
    totals = {
        f"{key[2]}:{key[3]}": value
        for key, value in mine.items()
        if key[0] == "container_blkio_device_usage_total" and key[4] == "Write"
    }
    assert totals == written


def test_a_pod_has_its_cgroups_metrics_and_its_network(pods: Pods, pause: dict[str, Any]) -> None:
    parent = pause["HostConfig"]["CgroupParent"]
    container = pods.container(
        "exec sleep 1000", CgroupParent=parent, NetworkMode=f"container:{pause['Id']}"
    )
    pod, (inner,) = metrics_of(pods, pause, container)
    assert pod["container_threads",] == 2 and inner["container_threads",] == 1
    assert (
        pod["container_memory_working_set_bytes",] >= inner["container_memory_working_set_bytes",]
    )

    def settled() -> tuple[Values, dict[str, int]] | None:
        before = pods.stats(pause)["networks"]["eth0"]
        mine = metrics_of(pods, pause)[0]
        return (mine, before) if pods.stats(pause)["networks"]["eth0"] == before else None

    mine, theirs = eventually(settled, "an idle network")
    for direction, prefix in (("receive", "rx"), ("transmit", "tx")):
        for what, name in (
            ("bytes", "bytes"),
            ("packets", "packets"),
            ("errors", "errors"),
            ("packets_dropped", "dropped"),
        ):
            assert (
                mine[f"container_network_{direction}_{what}_total", "eth0"]
                == theirs[f"{prefix}_{name}"]
            )
    assert any(mine[key] for key in mine if key[0].startswith("container_network_receive"))
