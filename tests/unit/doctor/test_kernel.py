"""Faults of the kernel and its settings, each found with its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.doctor import kernel
from asupervisor.doctor.finding import Level
from tests.harness.made_node import MadeNode, assert_finds, only

V1 = "".join(
    f"3{number} 23 0:2{number} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
    for number, name in enumerate(("cpu", "cpuacct", "memory", "devices", "freezer", "blkio"))
)


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    return MadeNode(tmp_path)


@pytest.mark.parametrize(
    "look",
    [
        *(kernel.cgroups, kernel.overlay, kernel.bridge_netfilter, kernel.ip_forward),
        *(kernel.inotify, kernel.descriptors, kernel.tables, kernel.apparmor, kernel.selinux),
        kernel.swap,
    ],
    ids=lambda look: look.__name__,
)
def test_a_healthy_kernel_is_ok(made: MadeNode, look: object) -> None:
    assert_finds(only(look(made.node)), Level.OK)  # type: ignore[operator]


def test_a_controller_is_missing(made: MadeNode) -> None:
    made.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
    found = only(kernel.cgroups(made.node))
    assert_finds(found, Level.ERROR, "cgroup v2 without the controllers memory")
    assert "cgroup_enable=memory" in found.remedy


def test_a_controller_is_missing_on_version_1(made: MadeNode) -> None:
    made.write("proc/self/mountinfo", V1)
    assert_finds(only(kernel.cgroups(made.node)), Level.ERROR, "cgroup v1 without", "pids")


def test_version_1_under_a_kubelet_that_refuses_it(made: MadeNode) -> None:
    more = "".join(
        f"4{number} 23 0:3{number} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
        for number, name in enumerate(("pids", "cpuset"))
    )
    made.write("proc/self/mountinfo", V1 + more)
    found = only(kernel.cgroups(made.node))
    assert_finds(found, Level.WARNING, "cgroup v1: kubelet 1.35 and later does not start")
    assert "failCgroupV1: false" in found.remedy
    made.kubelet["failCgroupV1"] = False
    assert_finds(only(kernel.cgroups(made.node)), Level.OK)


def test_no_cgroups_at_all(made: MadeNode) -> None:
    made.write("proc/self/mountinfo", "")
    assert_finds(only(kernel.cgroups(made.node)), Level.ERROR, "no cgroups are mounted")


def test_no_overlay(made: MadeNode) -> None:
    made.write("proc/filesystems", "nodev\tproc\n")
    found = only(kernel.overlay(made.node))
    assert_finds(found, Level.WARNING, "no overlay file system")
    assert "modprobe overlay" in found.remedy


def test_no_br_netfilter(made: MadeNode) -> None:
    made.remove("proc/sys/net/bridge/bridge-nf-call-iptables")
    found = only(kernel.bridge_netfilter(made.node))
    assert_finds(found, Level.ERROR, "br_netfilter is not loaded")
    assert "modprobe br_netfilter" in found.remedy


def test_bridged_traffic_passes_by(made: MadeNode) -> None:
    made.write("proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")
    assert_finds(only(kernel.bridge_netfilter(made.node)), Level.ERROR, "iptables is off")
    made.network["plugin"] = "no-op"
    assert_finds(only(kernel.bridge_netfilter(made.node)), Level.WARNING, "iptables is off")


def test_packets_are_not_forwarded(made: MadeNode) -> None:
    made.write("proc/sys/net/ipv4/ip_forward", "0\n")
    found = only(kernel.ip_forward(made.node))
    assert_finds(found, Level.ERROR, "net.ipv4.ip_forward is off", "IPv4")
    assert "sysctl net.ipv4.ip_forward=1" in found.remedy


def test_packets_of_the_second_family_are_not_forwarded(made: MadeNode) -> None:
    made.network["pod_cidr"] = "10.1.0.0/24,fd00:1::/64"
    assert_finds(only(kernel.ip_forward(made.node)), Level.ERROR, "IPv6")


def test_few_inotify_instances(made: MadeNode) -> None:
    made.write("proc/sys/fs/inotify/max_user_instances", "128\n")
    found = only(kernel.inotify(made.node))
    assert_finds(found, Level.WARNING, "fs.inotify.max_user_instances is 128")
    assert "sysctl fs.inotify.max_user_instances=512" in found.remedy


def test_no_descriptors_left(made: MadeNode) -> None:
    made.write("proc/sys/fs/file-nr", "95000\t0\t100000\n")
    assert_finds(only(kernel.descriptors(made.node)), Level.ERROR, "95000 of 100000 files are open")


def test_a_service_with_few_descriptors(made: MadeNode) -> None:
    made.service_pid = 77
    made.write("proc/77/limits", "Limit  Soft  Hard  Units\nMax open files   1024   4096   files\n")
    assert_finds(only(kernel.descriptors(made.node)), Level.WARNING, "may open 1024 files")


def test_apparmor_that_the_engine_does_not_use(made: MadeNode) -> None:
    made.info["SecurityOptions"] = ["name=seccomp"]
    assert_finds(only(kernel.apparmor(made.node)), Level.WARNING, "does not confine containers")
    made.remove("sys/module/apparmor/parameters/enabled")
    assert_finds(only(kernel.apparmor(made.node)), Level.OK)


def test_selinux_that_the_engine_does_not_use(made: MadeNode) -> None:
    made.write("sys/fs/selinux/enforce", "1")
    assert_finds(only(kernel.selinux(made.node)), Level.WARNING, "labels no container")
    made.info["SecurityOptions"] = ["name=selinux"]
    assert_finds(only(kernel.selinux(made.node)), Level.OK, "enforces")


def test_a_clock_that_nobody_keeps_right() -> None:
    assert_finds(kernel.judge_clock(1.8e9, 5), Level.WARNING, "no time service sets the clock")
    assert_finds(kernel.judge_clock(1.8e9, 0), Level.OK)
    assert_finds(kernel.judge_clock(1.8e9, -1), Level.OK)


def test_a_clock_of_long_ago() -> None:
    assert_finds(kernel.judge_clock(86400.0, 0), Level.ERROR, "1970-01-02")


def test_a_clock_that_is_years_ahead() -> None:
    assert_finds(kernel.judge_clock(2.6e9, 0), Level.ERROR, "2052-05-22")


def test_a_clock_that_the_hardware_contradicts() -> None:
    found = kernel.judge_clock(1.8e9, 0, 1.9e9)
    assert_finds(found, Level.WARNING, "2027-01-15", "the hardware clock 2030-03-17")
    local = kernel.judge_clock(1.8e9, 0, 1.8e9 - 12 * 3600)
    assert_finds(local, Level.OK)


@pytest.mark.parametrize("setting", ["kernel/pid_max", "kernel/threads-max"])
def test_no_process_can_be_made(made: MadeNode, setting: str) -> None:
    made.write(f"proc/sys/{setting}", "600\n")
    found = only(kernel.tables(made.node))
    assert_finds(found, Level.ERROR, "590 of 600 processes and threads run")
    assert setting.replace("/", ".") in found.remedy


def test_no_connection_can_be_tracked(made: MadeNode) -> None:
    made.write("proc/sys/net/netfilter/nf_conntrack_max", "1000\n")
    made.write("proc/sys/net/netfilter/nf_conntrack_count", "1000\n")
    assert_finds(only(kernel.tables(made.node)), Level.ERROR, "1000 of 1000 connections")
    made.write("proc/sys/net/netfilter/nf_conntrack_max", "0\n")
    assert_finds(only(kernel.tables(made.node)), Level.OK)


def test_the_clock_of_this_machine_is_only_read(made: MadeNode) -> None:
    assert only(kernel.clock(made.node)).level in (Level.OK, Level.WARNING)


def test_swap_that_kubelet_does_not_start_with(made: MadeNode) -> None:
    made.write("proc/swaps", "Filename Type\n/dev/sda5 partition 100 0 -2\n")
    assert_finds(only(kernel.swap(made.node)), Level.OK, "1 swap devices")
    made.kubelet["kind"] = "KubeletConfiguration"
    assert_finds(only(kernel.swap(made.node)), Level.ERROR, "/dev/sda5", "kubelet does not start")
    made.kubelet["failSwapOn"] = False
    assert_finds(only(kernel.swap(made.node)), Level.OK)
