"""What cAdvisor's metrics need, out of files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from asupervisor.host.cgroups import Location
from asupervisor.proto import cri
from asupervisor.stats.cgroup import open_cgroup
from asupervisor.stats.details import Details
from asupervisor.stats.kernel_files import Budget
from asupervisor.stats.metrics import CgroupMetrics

Values = dict[tuple[str, ...], int]
"""By name and own labels."""

V2 = {
    "cpu.stat": (
        "usage_usec 9\nuser_usec 2000000\nsystem_usec 3000000\nnr_periods 7\nnr_throttled"
        " 4\nthrottled_usec 5000000\n"
    ),
    "cpu.max": "20000 100000\n",
    "cpu.weight": "20\n",
    "memory.stat": (
        "anon 1\nfile 100\nkernel 200\nfile_mapped 300\nactive_file 400\ninactive_file 500\n"
    ),
    "memory.events": "low 0\nhigh 0\nmax 6\noom 2\noom_kill 1\n",
    "memory.peak": "8192\n",
    "memory.max": "65536\n",
    "memory.low": "4096\n",
    "memory.swap.max": "max\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
    "cgroup.procs": "11\n12\n",
    "io.stat": (
        "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0 \n8:16 rbytes=10 wbytes=20"
        " rios=30 wios=40 dbytes=0 dios=0\n"
    ),
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.rsvd.current": "0\n",
}

V1 = {
    "cpuacct.usage_user": "2000000000\n",
    "cpuacct.usage_sys": "3000000000\n",
    "cpu.stat": "nr_periods 7\nnr_throttled 4\nthrottled_time 5000000000\n",
    "cpu.cfs_period_us": "100000\n",
    "cpu.cfs_quota_us": "20000\n",
    "cpu.shares": "512\n",
    "memory.stat": (
        "cache 1\ntotal_cache 100\ntotal_mapped_file 300\ntotal_active_file"
        " 400\ntotal_inactive_file 500\n"
    ),
    "memory.kmem.usage_in_bytes": "200\n",
    "memory.max_usage_in_bytes": "8192\n",
    "memory.failcnt": "6\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "memory.limit_in_bytes": "65536\n",
    "memory.soft_limit_in_bytes": "4096\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
    "cgroup.procs": "11\n12\n",
    "blkio.throttle.io_service_bytes_recursive": (
        "254:0 Read 1\n254:0 Write 2\n254:0 Total 3\n8:16 Read 10\n8:16 Write 20\nTotal 33\n"
    ),
    "blkio.throttle.io_serviced_recursive": (
        "254:0 Read 3\n254:0 Write 4\n8:16 Read 30\n8:16 Write 40\nTotal 77\n"
    ),
    "hugetlb.2MB.usage_in_bytes": "2097152\n",
    "hugetlb.2MB.max_usage_in_bytes": "4194304\n",
}

SAME: Values = {
    ("container_cpu_user_seconds_total",): 2,
    ("container_cpu_system_seconds_total",): 3,
    ("container_cpu_cfs_periods_total",): 7,
    ("container_cpu_cfs_throttled_periods_total",): 4,
    ("container_cpu_cfs_throttled_seconds_total",): 5,
    ("container_memory_cache",): 100,
    ("container_memory_mapped_file",): 300,
    ("container_memory_total_active_file_bytes",): 400,
    ("container_memory_total_inactive_file_bytes",): 500,
    ("container_memory_kernel_usage",): 200,
    ("container_memory_max_usage_bytes",): 8192,
    ("container_memory_failcnt",): 6,
    ("container_oom_events_total",): 1,
    ("container_spec_cpu_period",): 100_000,
    ("container_spec_cpu_quota",): 20_000,
    ("container_spec_memory_limit_bytes",): 65536,
    ("container_spec_memory_reservation_limit_bytes",): 4096,
    ("container_spec_memory_swap_limit_bytes",): 0,
    ("container_threads",): 3,
    ("container_threads_max",): 0,
    ("container_hugetlb_usage_bytes", "2MB"): 2 << 20,
    ("container_fs_reads_bytes_total", "254:0x"): 1,
    ("container_fs_writes_bytes_total", "254:0x"): 2,
    ("container_fs_reads_total", "254:0x"): 3,
    ("container_fs_writes_total", "254:0x"): 4,
    ("container_blkio_device_usage_total", "254:0x", "254", "0x", "Read"): 1,
    ("container_blkio_device_usage_total", "254:0x", "254", "0x", "Write"): 2,
    ("container_fs_reads_bytes_total", "8:16x"): 10,
    ("container_fs_writes_bytes_total", "8:16x"): 20,
    ("container_fs_reads_total", "8:16x"): 30,
    ("container_fs_writes_total", "8:16x"): 40,
    ("container_blkio_device_usage_total", "8:16x", "8", "16x", "Read"): 10,
    ("container_blkio_device_usage_total", "8:16x", "8", "16x", "Write"): 20,
}
"""What both versions say; the devices have numbers that no device of this machine has."""


def directory(path: Path, files: dict[str, str]) -> str:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_text(content.replace("254:0 ", "254:0x ").replace("8:16 ", "8:16x "))
    return str(path)


def opened(location: Location) -> Details:
    """The details of a cgroup whose stats were just read."""
    budget = Budget(100)
    reader = open_cgroup(location, budget)
    reader.read()
    return Details(location, reader, budget)


def values(details: Details) -> Values:
    found: Values = {}
    for section in details.sections:
        for name, value, labels in section.parse(*(source() for source in section.sources)):
            assert (name, *labels) not in found
            if value is not None:
                found[name, *labels] = value
    return found


def test_both_versions_say_the_same(tmp_path: Path) -> None:
    where = directory(tmp_path / "v1", V1)
    old = opened(
        Location(dict.fromkeys(("cpu", "cpuacct", "memory", "pids", "blkio", "hugetlb"), where), "")
    )
    new = opened(Location({}, directory(tmp_path / "v2", V2)))
    shares = ("container_spec_cpu_shares",)
    assert values(new) == SAME | {shares: 500}, "a weight is coarser than shares"
    assert values(old) == SAME | {
        shares: 512,
        ("container_hugetlb_max_usage_bytes", "2MB"): 4 << 20,
    }
    assert old.pids() == new.pids() == [11, 12]


def test_no_quota(tmp_path: Path) -> None:
    new = opened(Location({}, directory(tmp_path / "v2", {"cpu.max": "max 100000\n"})))
    old = opened(
        Location(
            {"cpu": directory(tmp_path / "v1", {"cpu.cfs_quota_us": "-1\n"}), "memory": ""}, ""
        )
    )
    assert values(new)["container_spec_cpu_quota",] == values(old)["container_spec_cpu_quota",] == 0


def test_a_cgroup_that_knows_nothing(tmp_path: Path) -> None:
    new, old = (
        Location({}, directory(tmp_path / "v2", {})),
        Location({"memory": directory(tmp_path / "v1", {})}, ""),
    )
    for location in (new, old, Location({}, "")):
        details = opened(location)
        assert set(values(details).values()) <= {0}
        assert ("container_cpu_user_seconds_total",) not in values(details) and details.pids() == []


def test_a_controller_without_a_directory_hides_no_other(tmp_path: Path) -> None:
    here, budget = directory(tmp_path / "v1", V1), Budget(100)
    location = Location({"cpuacct": here, "memory": here, "pids": str(tmp_path / "none")}, "")
    reader = open_cgroup(location, budget)
    metrics = CgroupMetrics(("c", "/id", "i", "n", "ns", "p"), Details(location, reader, budget))
    for _ in range(2):
        found = cri.ContainerMetrics.FromString(b"".join(metrics.read(reader.read()))).metrics
        by_name = {metric.name: metric.value.value for metric in found}
        assert (
            by_name["container_memory_max_usage_bytes"] == 8192
            and "container_threads_max" not in by_name
        )


def test_more_processes_than_the_kernel_gives_at_once(tmp_path: Path) -> None:
    processes = list(range(100_000, 109_000))
    details = opened(
        Location(
            {},
            directory(tmp_path / "v2", {"cgroup.procs": "".join(f"{pid}\n" for pid in processes)}),
        )
    )
    assert details.pids() == processes


def test_more_devices_than_are_read_at_once(tmp_path: Path) -> None:
    lines = [
        f"7:{number} rbytes={number} wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n"
        for number in range(1000, 2000)
    ]
    found = values(opened(Location({}, directory(tmp_path / "v2", {"io.stat": "".join(lines)}))))
    assert found["container_fs_reads_bytes_total", "7:1999"] == 1999
    assert sum(key[0] == "container_fs_reads_total" for key in found) == 1000
