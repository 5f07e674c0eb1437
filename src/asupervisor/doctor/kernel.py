"""What pods need of the kernel, by the kernel's files."""

from __future__ import annotations

import ctypes
import time

from asupervisor.doctor.finding import Finding, Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.host.cgroups import Hierarchies

_NEEDED = {"cpu", "memory", "pids"}
_WANTED_V2 = {"cpuset", "io"}
_WANTED_V1 = {"cpuset", "blkio", "cpuacct", "devices", "freezer"}
_LEAST_INOTIFY = {"fs.inotify.max_user_instances": 512, "fs.inotify.max_user_watches": 65536}
_FEW_LEFT = 0.9
_LEAST_DESCRIPTORS = 65536
_RELEASED = 1767225600.0
"""2026-01-01, in Unix seconds: a clock that shows an earlier time is wrong."""
_AGED = _RELEASED + 10 * 365 * 86400.0
"""Ten years later: a clock that shows a later time is taken for wrong."""
_DAY_S = 86400.0
_TIME_ERROR = 5
_TIMEX_BYTES = 512


def cgroups(node: Node) -> Found:
    """Version and controllers."""
    hierarchies = Hierarchies.parse(node.text("/proc/self/mountinfo"))
    if hierarchies.v2 is not None and not _NEEDED & set(hierarchies.v1):
        try:
            has = set(node.text(f"{hierarchies.v2[0]}/cgroup.controllers").split())
        except FileNotFoundError:
            has = set()
        lacks, wants, name = _NEEDED - has, _WANTED_V2 - has, "cgroup v2"
    elif hierarchies.v1:
        has = set(hierarchies.v1)
        lacks, wants, name = _NEEDED - has, _WANTED_V1 - has, "cgroup v1"
    else:
        return error("no cgroups are mounted", "mount cgroup2 on /sys/fs/cgroup, as systemd does")
    if lacks:
        return error(
            f"{name} without the controllers {_names(lacks)}: pods have no such limits",
            f"enable them on the kernel's command line (cgroup_enable={','.join(sorted(lacks))})",
        )
    found: list[Finding] = []
    if wants:
        found.append(
            warning(f"{name} without {_names(wants)}", "build or boot the kernel with them")
        )
    if name == "cgroup v1" and node.kubelet.get("failCgroupV1") is not False:
        found.append(
            warning(
                "cgroup v1: kubelet 1.35 and later does not start here",
                "set failCgroupV1: false for kubelet, or boot with cgroup v2",
            )
        )
    return found or ok(f"{name} with {_names(has & (_NEEDED | _WANTED_V1 | _WANTED_V2))}")


def overlay(node: Node) -> Found:
    """Whether the kernel has the file system with which images are mounted."""
    kinds = {line.split()[-1] for line in node.text("/proc/filesystems").splitlines() if line}
    if "overlay" in kinds:
        return ok("the kernel has overlay")
    return warning("the kernel has no overlay file system (yet)", "modprobe overlay, also at boot")


def bridge_netfilter(node: Node) -> Found:
    """Whether bridged traffic passes iptables, so that services reach pods of the same node."""
    value = node.switch("net.bridge.bridge-nf-call-iptables")
    if value == "1":
        return ok("bridged traffic passes iptables")
    remedy = "modprobe br_netfilter, also at boot; sysctl net.bridge.bridge-nf-call-iptables=1"
    what = "br_netfilter is not loaded" if value is None else "bridge-nf-call-iptables is off"
    message = f"{what}: services do not reach pods on the same bridge"
    return (warning if node.config.network.plugin in ("", "no-op") else error)(message, remedy)


def ip_forward(node: Node) -> Found:
    """Whether packets are forwarded from pods to other hosts."""
    families = {"net.ipv4.ip_forward": "IPv4"}
    if ":" in node.config.network.pod_cidr:
        families["net.ipv6.conf.all.forwarding"] = "IPv6"
    found = [
        error(f"{name} is off: pods reach nothing over {family}", f"sysctl {name}=1")
        for name, family in families.items()
        if node.switch(name) not in ("1", "2")
    ]
    return found or ok(f"packets are forwarded ({', '.join(families.values())})")


def inotify(node: Node) -> Found:
    """Whether there is enough of it for kubelet, the service and pods."""
    found = [
        warning(
            f"{name} is {value}: files of pods and configurations are polled, or programs in pods"
            " fail",
            f"sysctl {name}={least}, also at boot",
        )
        for name, least in _LEAST_INOTIFY.items()
        if (value := node.number(name)) is None or value < least
    ]
    return found or ok("enough inotify instances and watches")


def descriptors(node: Node) -> Found:
    """Open files, of the machine and of the service."""
    used, _, most = (int(part) for part in node.text("/proc/sys/fs/file-nr").split()[:3])
    if used > _FEW_LEFT * most:
        return error(
            f"{used} of {most} files are open on this machine",
            "raise fs.file-max, and find out what opens so many (lsof)",
        )
    limit = _descriptor_limit(node) if node.service_pid is not None else None
    if limit is not None and limit < _LEAST_DESCRIPTORS:
        return warning(
            f"the service may open {limit} files: about two for each container and call",
            "start it with LimitNOFILE=1048576, as the unit asupervisor.service does",
        )
    return ok(f"{used} of {most} files are open")


def tables(node: Node) -> Found:
    """Room for processes and for connections."""
    tasks = int(node.text("/proc/loadavg").split()[3].partition("/")[2])
    tracked = node.number("net.netfilter.nf_conntrack_count") or 0
    found = [
        error(
            f"{used} of {most} {what}: soon further ones fail, in every pod",
            f"raise {name} (sysctl), and find out what makes so many",
        )
        for what, used, name in (
            ("processes and threads run", tasks, "kernel.pid_max"),
            ("processes and threads run", tasks, "kernel.threads-max"),
            ("connections are tracked", tracked, "net.netfilter.nf_conntrack_max"),
        )
        if (most := node.number(name)) and used > _FEW_LEFT * most  # 0: connections without a bound
    ]
    return found or ok(f"{tasks} processes and threads run")


def _descriptor_limit(node: Node) -> int | None:
    for line in node.text(f"/proc/{node.service_pid}/limits").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def apparmor(node: Node) -> Found:
    """Whether the engine uses it, if the kernel has it."""
    try:
        on = node.text("/sys/module/apparmor/parameters/enabled").strip() == "Y"
    except FileNotFoundError:
        on = False
    if not on:
        return ok("the kernel does not use AppArmor")
    if node.engine is not None and not node.engine.has_security("apparmor"):
        return warning(
            "the kernel has AppArmor and the engine does not confine containers with it",
            "install the package apparmor, and restart the engine",
        )
    return ok("AppArmor is on")


def selinux(node: Node) -> Found:
    """Whether the engine labels containers, if the kernel enforces it."""
    try:
        enforces = node.text("/sys/fs/selinux/enforce").strip() == "1"
    except FileNotFoundError:
        return ok("the kernel does not use SELinux")
    if enforces and node.engine is not None and not node.engine.has_security("selinux"):
        return warning(
            "SELinux enforces and the engine labels no container: volumes cannot be read",
            'set "selinux-enabled": true in daemon.json, and install container-selinux',
        )
    return ok("SELinux enforces" if enforces else "SELinux only reports")


def clock(node: Node) -> Found:
    """Whether it is right enough for certificates, and a time service sets it."""
    try:
        hardware = float(node.text("/sys/class/rtc/rtc0/since_epoch"))
    except (OSError, ValueError):
        hardware = None  # many virtual machines have none
    return judge_clock(time.time(), _clock_state(), hardware)


def judge_clock(now_s: float, state: int, hardware_s: float | None = None) -> Finding:
    """The finding for given figures.

    Args:
        now_s: Unix time in seconds.
        state: what adjtimex(2) returned; negative where it could not be asked.
        hardware_s: Unix time of the machine's own clock in seconds; None where there is none.
    """
    day = _day(now_s)
    if not _RELEASED <= now_s < _AGED:
        return error(
            f"the clock says {day}: no certificate is valid then",
            "set it, and run a time service",
        )
    if hardware_s is not None and abs(now_s - hardware_s) > _DAY_S:
        return warning(
            f"the clock says {day}, and the hardware clock {_day(hardware_s)}",
            "run a time service; hwclock --systohc once the first is right",
        )
    if state == _TIME_ERROR:
        return warning(
            "no time service sets the clock (adjtimex: not synchronised)",
            "run systemd-timesyncd, chrony or another time service",
        )
    return ok("a time service sets the clock" if state >= 0 else "the clock is plausible")


def _day(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix_s))


def _clock_state() -> int:
    """adjtimex(2) with no mode set, which only reads."""
    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))


def swap(node: Node) -> Found:
    """Whether it is off, if kubelet's configuration forbids it."""
    lines = node.text("/proc/swaps").splitlines()[1:]
    if not lines or not node.kubelet or node.kubelet.get("failSwapOn") is False:
        return ok(f"{len(lines)} swap devices" if lines else "no swap")
    return error(
        f"swap is on ({lines[0].split()[0]}) and kubelet does not start with it",
        "swapoff -a and remove it from /etc/fstab, or set failSwapOn: false for kubelet",
    )


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names))
