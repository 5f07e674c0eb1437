"""Readings of cgroup directories whose files are as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asupervisor.host.cgroups import Location
from asupervisor.stats.cgroup import PressureLine, open_cgroup, parse_pressure
from asupervisor.stats.kernel_files import Budget, Gone, KernelFile, number

PRESSURE = (
    "some avg10=1.50 avg60=0.25 avg300=0.00 total=2500\nfull avg10=0.10 avg60=0.00 avg300=0.00"
    " total=7\n"
)

V2 = {
    "cpu.stat": "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\nnr_periods 0\n",
    "memory.current": "104857600\n",
    "memory.stat": (
        "anon 31457280\nfile 62914560\ninactive_file 20971520\nactive_file 41943040\npgfault"
        " 4321\npgmajfault 12\n"
    ),
    "memory.max": "209715200\n",
    "memory.swap.current": "4096\n",
    "memory.swap.max": "8192\n",
    "pids.current": "3\n",
    "cpu.pressure": PRESSURE,
    "memory.pressure": PRESSURE,
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
}

V1 = {
    "cpuacct.usage": "1234567890\n",
    "memory.usage_in_bytes": "104857600\n",
    "memory.stat": (
        "rss 1\ninactive_file 1\ntotal_rss 31457280\ntotal_inactive_file 20971520\n"
        "total_pgfault 4321\ntotal_pgmajfault 12\ntotal_swap 4096\n"
    ),
    "memory.limit_in_bytes": "209715200\n",
    "memory.memsw.limit_in_bytes": "209723392\n",
    "pids.current": "3\n",
}


def directory(path: Path, files: dict[str, str]) -> str:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_text(content)
    return str(path)


def v1(path: Path, files: dict[str, str]) -> Location:
    where = directory(path, files)
    return Location({"cpuacct": where, "memory": where, "pids": where}, "")


@pytest.mark.parametrize("kept", [0, 100])
def test_both_versions_say_the_same(tmp_path: Path, kept: int) -> None:
    budget = Budget(kept)
    unified = open_cgroup(Location({}, directory(tmp_path / "v2", V2)), budget)
    legacy = open_cgroup(v1(tmp_path / "v1", V1), budget)
    for _ in range(2):
        new, old = unified.read(), legacy.read()
        assert (new.cpu_ns, old.cpu_ns) == (1234567000, 1234567890)
        for usage in (new, old):
            assert usage.memory_bytes == 100 << 20
            assert usage.working_set_bytes == 80 << 20, (
                "usage less the page cache that was not used recently, hierarchically"
            )
            assert usage.rss_bytes == 30 << 20
            assert (usage.page_faults, usage.major_page_faults) == (4321, 12)
            assert usage.memory_limit_bytes == 200 << 20
            assert (usage.swap_bytes, usage.swap_limit_bytes) == (4096, 8192)
        assert new.cpu_pressure.decode() == PRESSURE and old.cpu_pressure == b""
        assert unified.read_processes() == legacy.read_processes() == 3
    assert budget.used == (16 if kept else 0)
    unified.close()
    legacy.close()
    assert budget.used == 0


def test_no_limit_is_no_number(tmp_path: Path) -> None:
    unified = open_cgroup(
        Location(
            {}, directory(tmp_path / "v2", V2 | {"memory.max": "max\n", "memory.swap.max": "max\n"})
        ),
        Budget(0),
    ).read()
    boundless = "9223372036854771712\n"
    legacy = open_cgroup(
        v1(
            tmp_path / "v1",
            V1 | {"memory.limit_in_bytes": boundless, "memory.memsw.limit_in_bytes": boundless},
        ),
        Budget(0),
    ).read()
    assert unified.memory_limit_bytes == legacy.memory_limit_bytes == -1
    assert unified.swap_limit_bytes == legacy.swap_limit_bytes == -1


def test_a_kernel_without_swap_accounting(tmp_path: Path) -> None:
    files = {name: content for name, content in V2.items() if ".swap." not in name}
    assert (
        open_cgroup(Location({}, directory(tmp_path / "v2", files)), Budget(0)).read().swap_bytes
        == -1
    )
    legacy = V1 | {"memory.stat": "total_rss 1\n"}
    del legacy["memory.memsw.limit_in_bytes"]
    usage = open_cgroup(v1(tmp_path / "v1", legacy), Budget(0)).read()
    assert (usage.swap_bytes, usage.swap_limit_bytes) == (-1, -1)


def test_hybrid_reads_pressure_beside_the_v1_controllers(tmp_path: Path) -> None:
    location = v1(tmp_path / "v1", V1)
    location.v2 = directory(tmp_path / "unified", {"cpu.pressure": PRESSURE})
    usage = open_cgroup(location, Budget(10)).read()
    assert (
        usage.cpu_ns == 1234567890
        and usage.cpu_pressure.decode() == PRESSURE
        and usage.io_pressure == b""
    )


def test_working_set_is_never_negative(tmp_path: Path) -> None:
    files = V2 | {"memory.current": "4096\n"}
    assert (
        open_cgroup(Location({}, directory(tmp_path, files)), Budget(0)).read().working_set_bytes
        == 0
    )


def test_pressure_in_nanoseconds() -> None:
    assert parse_pressure(PRESSURE.encode()) == {
        "some": PressureLine(1.5, 0.25, 0.0, 2_500_000),
        "full": PressureLine(0.1, 0.0, 0.0, 7000),
    }
    assert parse_pressure(b"") == {}


def test_a_removed_cgroup_is_gone_and_a_missing_file_is_not(tmp_path: Path) -> None:
    where = tmp_path / "cgroup"
    where.mkdir()
    assert KernelFile(str(where), "no.such.file", Budget(1)).read() == b""
    with pytest.raises(Gone):
        KernelFile(str(tmp_path / "removed"), "memory.current", Budget(1)).read()


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a cgroup")
def test_an_open_file_neither_holds_a_cgroup_nor_outlives_it() -> None:
    with open("/proc/self/mountinfo") as mounts:
        mount = next(
            line.split()[4] for line in mounts if " - cgroup" in line and "name=systemd" not in line
        )
    path = Path(mount) / f"asupervisor-test-{os.getpid()}"
    path.mkdir()
    try:
        budget = Budget(1)
        file = KernelFile(str(path), "cgroup.procs", budget)
        assert file.read() == b"" and budget.used == 1
    finally:
        path.rmdir()
    with pytest.raises(Gone):
        file.read()
    assert budget.used == 0


def test_numbers() -> None:
    assert (number(b"max\n"), number(b"42\n"), number(b""), number(b"-1\n")) == (-1, 42, 0, -1)
