"""A node made of files: a healthy one, into which tests put their faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asupervisor.config import Config, NetworkConfig
from asupervisor.doctor.finding import Finding, Found, Level
from asupervisor.doctor.node import Node
from asupervisor.engine.client import EngineClient

MOUNTS_V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
HEALTHY = {
    "proc/self/mountinfo": MOUNTS_V2,
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma\n",
    "proc/filesystems": "nodev\tproc\n\text4\nnodev\toverlay\n",
    "proc/sys/net/bridge/bridge-nf-call-iptables": "1\n",
    "proc/sys/net/ipv4/ip_forward": "1\n",
    "proc/sys/fs/inotify/max_user_instances": "8192\n",
    "proc/sys/fs/inotify/max_user_watches": "524288\n",
    "proc/sys/fs/file-nr": "4000\t0\t9223372\n",
    "proc/loadavg": "0.20 0.18 0.12 1/590 4711\n",
    "proc/sys/kernel/pid_max": "4194304\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "proc/1/comm": "systemd\n",
    "etc/resolv.conf": "nameserver 10.0.0.2\n",
    "proc/net/tcp": "  sl  local_address rem_address   st\n",
    "sys/module/apparmor/parameters/enabled": "Y\n",
}
INFO: dict[str, Any] = {
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "Driver": "overlay2",
    "DriverStatus": [["Supports d_type", "true"]],
    "DockerRootDir": "/var/lib/docker",
    "LoggingDriver": "json-file",
    "LiveRestoreEnabled": True,
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default"],
    "Warnings": None,
}


class MadeNode:
    """A healthy one; its parts are changed before it is looked at.

    Args:
        root: an empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for path, content in HEALTHY.items():
            self.write(path, content)
        (root / "sys/class/net/lo").mkdir(parents=True)
        self.config: dict[str, Any] = {}
        self.network: dict[str, Any] = {
            "cni_conf_dir": str(root / "etc/cni/net.d"),
            "cni_bin_dirs": (str(root / "opt/cni/bin"),),
        }
        self.kubelet: dict[str, Any] = {}
        self.info = dict(INFO)
        self.version = {"Version": "28.5.2", "ApiVersion": "1.51", "MinAPIVersion": "1.24"}
        self.api_version = (1, 51)
        self.service_pid: int | None = None

    def write(self, path: str, content: str) -> Path:
        """A file below its root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def remove(self, path: str) -> None:
        """A file of a healthy node that this one lacks."""
        (self.root / path).unlink()

    @property
    def node(self) -> Node:
        """As checks see it."""
        settings: dict[str, Any] = {"runtime_endpoint": f"unix://{self.root}/cri.sock"}
        settings |= {"network": NetworkConfig(**self.network)} | self.config
        node = Node(Config(**settings), root=str(self.root), kubelet=self.kubelet)
        node.engine = engine = EngineClient("unix:///engine.sock")
        engine.info, engine.version = self.info, self.version
        engine.session.api_version = self.api_version
        node.service_pid = self.service_pid
        return node


def only(found: Found) -> Finding:
    """The one finding of a check."""
    if isinstance(found, list):
        (finding,) = found
        return finding
    return found


def assert_finds(finding: Finding, level: Level, *words: str) -> None:
    """It is of that level, has those words, and says what to do about it."""
    assert finding.level is level, finding
    for word in words:
        assert word in finding.message, finding
    assert bool(finding.remedy) is (level is not Level.OK), finding
