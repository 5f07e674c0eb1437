"""What cAdvisor's metrics need, out of files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from asupervisor.stats.details import DeviceCounters, read_details
from asupervisor.stats.hierarchy import Location

V2 = {
    "cpu.stat": "usage_usec 9\nuser_usec 2000\nsystem_usec 3000\nnr_periods 7\nnr_throttled 4\nthrottled_usec 5000\n",
    "cpu.max": "20000 100000\n",
    "cpu.weight": "20\n",
    "memory.stat": "anon 1\nfile 100\nkernel 200\nfile_mapped 300\nactive_file 400\ninactive_file 500\n",
    "memory.events": "low 0\nhigh 0\nmax 6\noom 2\noom_kill 1\n",
    "memory.peak": "8192\n",
    "memory.max": "65536\n",
    "memory.low": "4096\n",
    "memory.swap.max": "max\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
    "cgroup.procs": "11\n12\n",
    "io.stat": "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0 \n8:16 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=0 dios=0\n",
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.rsvd.current": "0\n",
}

V1 = {
    "cpuacct.usage_user": "2000000\n",
    "cpuacct.usage_sys": "3000000\n",
    "cpu.stat": "nr_periods 7\nnr_throttled 4\nthrottled_time 5000000\n",
    "cpu.cfs_period_us": "100000\n",
    "cpu.cfs_quota_us": "20000\n",
    "cpu.shares": "512\n",
    "memory.stat": "cache 1\ntotal_cache 100\ntotal_mapped_file 300\ntotal_active_file 400\ntotal_inactive_file 500\n",
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
    "blkio.throttle.io_service_bytes_recursive": "254:0 Read 1\n254:0 Write 2\n254:0 Total 3\n8:16 Read 10\n8:16 Write 20\nTotal 33\n",
    "blkio.throttle.io_serviced_recursive": "254:0 Read 3\n254:0 Write 4\n8:16 Read 30\n8:16 Write 40\nTotal 77\n",
    "hugetlb.2MB.usage_in_bytes": "2097152\n",
    "hugetlb.2MB.max_usage_in_bytes": "4194304\n",
}

DEVICES = [DeviceCounters("254:0", 1, 2, 3, 4), DeviceCounters("8:16", 10, 20, 30, 40)]


def directory(path: Path, files: dict[str, str]) -> str:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_text(content)
    return str(path)


def test_both_versions_say_the_same(tmp_path: Path) -> None:
    where = directory(tmp_path / "v1", V1)
    old = read_details(Location(dict.fromkeys(("cpu", "cpuacct", "memory", "pids", "blkio", "hugetlb"), where), ""))
    new = read_details(Location({}, directory(tmp_path / "v2", V2)))
    assert old.devices == new.devices == DEVICES
    assert old.huge_pages == [("2MB", 2 << 20, 4 << 20)] and new.huge_pages == [("2MB", 2 << 20, None)]
    assert old.cpu_shares == 512 and new.cpu_shares == 500, "a weight is coarser than shares"
    same = {"devices": None, "huge_pages": None, "cpu_shares": None}
    assert old._replace(**same) == new._replace(**same)  # type: ignore[arg-type]
    assert (new.user_ns, new.system_ns, new.throttled_ns) == (2_000_000, 3_000_000, 5_000_000)
    assert (new.periods, new.throttled_periods, new.cpu_period_us, new.cpu_quota_us) == (7, 4, 100_000, 20_000)
    assert (new.limit_hits, new.oom_kills, new.max_usage_bytes, new.kernel_bytes) == (6, 1, 8192, 200)
    assert (new.memory_limit_bytes, new.memory_reservation_bytes, new.memory_swap_limit_bytes) == (65536, 4096, 0)
    assert (new.threads, new.threads_max, new.pids) == (3, 0, [11, 12])


def test_no_quota(tmp_path: Path) -> None:
    new = read_details(Location({}, directory(tmp_path / "v2", {"cpu.max": "max 100000\n"})))
    old = read_details(Location({"cpu": directory(tmp_path / "v1", {"cpu.cfs_quota_us": "-1\n"}), "memory": ""}, ""))
    assert new.cpu_quota_us == old.cpu_quota_us == 0


def test_a_cgroup_that_is_gone_or_knows_nothing(tmp_path: Path) -> None:
    for location in (Location({}, str(tmp_path / "none")), Location({"memory": str(tmp_path / "none")}, ""), Location({}, "")):
        details = read_details(location)
        assert details.user_ns is None and details.periods is None and details.cpu_quota_us is None and details.threads_max is None
        assert (details.cache_bytes, details.pids, details.devices, details.huge_pages) == (0, [], [], [])
