"""The node that is looked at: settings, the kernel's files, what engine and service answered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from asupervisor.conditions import Reason
from asupervisor.config import Config
from asupervisor.engine.client import EngineClient
from asupervisor.host.beneath import read_followed
from asupervisor.host.processes import is_in_container

KUBELET_CONFIGURATION = "/var/lib/kubelet/config.yaml"
"""Where kubeadm puts kubelet's."""
_LONGEST_BYTES = 1 << 20
_MOST_PROCESSES = 65536


@dataclass(slots=True)
class Node:
    """All that checks know.

    Args:
        config: the settings of the service, of the running one where one runs.
        root: where the paths of kernel and system begin; another one in tests.
        deadline_s: seconds for each check.
        kubelet: kubelet's configuration; empty where it was not found.
        kubelet_path: where that is; empty: where the running kubelet has it, else the usual place.
        kubelet_directory: of kubelet's drop-in configuration; empty: that of the running kubelet.
        kubelet_failure: why it cannot be read; None where it can, or is not there.
        engine: it answered, and said what it is; None where it did not.
        engine_problem: reason and message, where it did not.
        service_pid: the process that serves the CRI, also one that hangs; None where none does.
        service_conditions: ``(type, reason, message)`` of what is not ready, as that says itself.
        service_problem: why it could not be asked, where a process listens.
    """

    config: Config
    root: str = "/"
    deadline_s: float = 5.0
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    kubelet_path: str = ""
    kubelet_directory: str = ""
    kubelet_failure: Exception | None = None
    engine: EngineClient | None = None
    engine_problem: tuple[Reason, str] | None = None
    service_pid: int | None = None
    service_conditions: list[tuple[str, str, str]] = field(default_factory=list)
    service_problem: str = ""

    @property
    def kubelet_place(self) -> str:
        """Where kubelet's configuration is, in words."""
        return " and ".join(filter(None, (self.kubelet_path, self.kubelet_directory)))

    def path(self, path: str) -> str:
        """A path of the system, such as ``/proc/mounts``."""
        return os.path.join(self.root, path.lstrip("/"))

    def text(self, path: str) -> str:
        """The content of a file of the system.

        Raises:
            OSError: it is not there, is not a regular file, or is larger than 1 MiB.
        """
        return read_followed(self.path(path), _LONGEST_BYTES).decode(errors="replace")

    def switch(self, name: str) -> str | None:
        """A sysctl by its name with dots; None where the kernel does not have it."""
        try:
            return self.text(f"/proc/sys/{name.replace('.', '/')}").strip()
        except FileNotFoundError:
            return None

    def command(self, pid: int) -> str:
        """The kernel's name for a process's program; empty where it cannot be told."""
        try:
            return self.text(f"/proc/{pid}/comm").strip()
        except OSError:
            return ""

    def processes(self, name: str) -> list[int]:
        """The node's own processes of a program, by the kernel's name for it; one in a container
        may call itself anything.
        """
        pids = self.pids(in_containers=False)
        return [pid for pid in pids if self.command(pid) == name]

    def pids(self, *, in_containers: bool) -> list[int]:
        """The processes that are in containers, or those that are not."""
        proc = self.path("/proc")
        pids = map(int, islice(filter(str.isdigit, os.listdir(proc)), _MOST_PROCESSES))
        return [pid for pid in pids if is_in_container(pid, proc) is in_containers]

    def words(self, pid: int) -> list[str]:
        """The command line of a process; empty where it has ended. Of one in a container it may
        hang: its memory may be a file of a dead file system.
        """
        try:
            return self.text(f"/proc/{pid}/cmdline").split("\0")[:-1]
        except OSError:
            return []

    def number(self, name: str) -> int | None:
        """A sysctl that is a number; None where it is absent or none."""
        try:
            return int(self.switch(name) or "")
        except ValueError:
            return None
