"""The node that is checked: its settings, the kernel's files, the answers of engine and service."""

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
"""Where kubeadm puts kubelet's configuration."""
_LONGEST_BYTES = 1 << 20
_MOST_PROCESSES = 65536


@dataclass(slots=True)
class Node:
    """Everything that checks know.

    Args:
        config: the settings of the service that runs, else those it would start with.
        root: before the paths of kernel and system; another one in tests.
        deadline_s: seconds for each check.
        kubelet: kubelet's configuration; empty if it was not found.
        kubelet_path: of that file; empty: the running kubelet's, else the usual one.
        kubelet_directory: of kubelet's drop-in configuration; empty: the running kubelet's.
        kubelet_failure: why it cannot be read; None if it can, or is missing.
        engine: identified; None if it did not answer.
        engine_problem: reason and message, if it did not answer.
        service_pid: the process that serves the CRI, also one that hangs; None if there is none.
        service_conditions: ``(type, reason, message)`` of what the service says is not ready.
        service_problem: why it did not answer, if a process listens.
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
        """The place of kubelet's configuration, in words."""
        return " and ".join(filter(None, (self.kubelet_path, self.kubelet_directory)))

    def path(self, path: str) -> str:
        """A path of the system, such as ``/proc/mounts``."""
        return os.path.join(self.root, path.lstrip("/"))

    def text(self, path: str) -> str:
        """The content of a file of the system.

        Raises:
            OSError: it is missing, not a regular file, or larger than 1 MiB.
        """
        return read_followed(self.path(path), _LONGEST_BYTES).decode(errors="replace")

    def switch(self, name: str) -> str | None:
        """A sysctl by its name with dots; None where the kernel does not have it."""
        try:
            return self.text(f"/proc/sys/{name.replace('.', '/')}").strip()
        except FileNotFoundError:
            return None

    def command(self, pid: int) -> str:
        """The kernel's name for a process's program; empty if it cannot be read."""
        try:
            return self.text(f"/proc/{pid}/comm").strip()
        except OSError:
            return ""

    def processes(self, name: str) -> list[int]:
        """The processes of a program that are not in containers, by the kernel's name for it: a
        process in a container can choose any name.
        """
        pids = self.pids(in_containers=False)
        return [pid for pid in pids if self.command(pid) == name]

    def pids(self, *, in_containers: bool) -> list[int]:
        """The processes that are in containers, or those that are not."""
        proc = self.path("/proc")
        pids = map(int, islice(filter(str.isdigit, os.listdir(proc)), _MOST_PROCESSES))
        return [pid for pid in pids if is_in_container(pid, proc) is in_containers]

    def words(self, pid: int) -> list[str]:
        """The command line of a process; empty if it has ended. It may hang for a process in a
        container, whose memory may be a file on a dead file system.
        """
        try:
            return self.text(f"/proc/{pid}/cmdline").split("\0")[:-1]
        except OSError:
            return []

    def number(self, name: str) -> int | None:
        """A sysctl that is a number; None if it is missing or not a number."""
        try:
            return int(self.switch(name) or "")
        except ValueError:
            return None
