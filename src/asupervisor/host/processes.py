"""Processes of containers: which container a pid belongs to, and how to end a command with
everything that it started.

A pid that was remembered may be another process's by now. So before a process is read, entered,
written to or signalled, its cgroup is compared with the container. Every cgroup driver of the
engine puts the container's id into the name of its cgroup."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from asupervisor.host.descriptor import HeldDescriptor

_WORD = re.compile(r"[0-9a-f]{64}")
_PROC = "/proc"
_LONGEST = 1 << 20
"""Bytes of a file in /proc: a process may be in 65 536 groups, each of up to ten digits."""


class Stat(NamedTuple):
    """What the kernel says about a process."""

    state: bytes
    """One letter: ``Z`` is a process that has ended and waits to be reaped."""
    parent: int
    session: int
    started: int
    """In ticks of the kernel since it booted."""


def process_stat(pid: int, proc: str = _PROC) -> Stat | None:
    """Read ``/proc/<pid>/stat``; None if the process is gone."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:
            return _parse_stat(file.read())
    except (OSError, IndexError):
        return None


def _parse_stat(content: bytes) -> Stat:
    # The name of a program may have brackets and spaces.
    fields = content.rsplit(b") ", 1)[1].split()
    return Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


class ContainerProcess(HeldDescriptor):
    """A process of a container, held by a descriptor that never means a later process with the same
    pid. A context manager; every method raises OSError once the process has ended.

    Args:
        pid: in our pid namespace.
        container_id: of the container that the process must belong to.

    Attributes:
        descriptor: of its directory in /proc; -1 once closed.
        cgroup: the text of its ``cgroup`` file.

    Raises:
        ProcessLookupError: it is gone, or not the container's.
    """

    def __init__(self, pid: int, container_id: str) -> None:
        super().__init__(-1)
        if pid > 0:
            with suppress(OSError):
                self.descriptor = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.cgroup = os.fsdecode(self.read("cgroup"))
            if not container_id or container_id not in self.cgroup:
                raise ProcessLookupError
        except OSError as error:
            self.close()
            raise ProcessLookupError(
                errno.ESRCH, f"process {pid} is not of container {container_id[:12]}"
            ) from error

    def read(self, name: str) -> bytes:
        """A file of its directory in /proc, at most a mebibyte of it."""
        with open(self.open(name), "rb") as file:
            return file.read(_LONGEST)

    def open(self, name: str) -> int:
        """A descriptor of a file of its directory in /proc, for reading; the caller closes it."""
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.descriptor)

    def is_first(self) -> bool:
        """Whether it is process 1 of a pid namespace of its own."""
        # Not splitlines(): the name of a process may have any byte except a line feed.
        for line in self.read("status").split(b"\n"):
            if line.startswith(b"NSpid:"):
                numbers = line.split()[1:]
                return len(numbers) > 1 and numbers[-1] == b"1"
        return False

    def parent(self) -> int:
        """The pid of its parent; the parent of a container's first process is the engine's shim."""
        return _parse_stat(self.read("stat")).parent

    def engine_mounts(self) -> str:
        """The mount table of its parent. For a container's first process that is the engine's
        table, which the container cannot change. OSError also if the parent has ended.
        """
        parent = self.parent()
        with open(f"/proc/{parent}/mountinfo", "rb") as file:
            mounts = file.read()
        if self.parent() != parent:
            raise ProcessLookupError(errno.ESRCH, "the parent ended meanwhile")
        return os.fsdecode(mounts)

    def write(self, name: str, content: str) -> None:
        """Write a file of its directory in /proc; OSError also if the kernel refuses."""
        descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.descriptor)
        with HeldDescriptor(descriptor):
            os.write(descriptor, content.encode())


def container_processes(ids: Collection[str], proc: str = _PROC) -> dict[str, list[int]]:
    """The processes that run in the cgroups of containers, also if the engine does not know these.

    Args:
        ids: whole ids of containers.
        proc: where procfs is mounted.

    Returns:
        The pids, oldest process first, of each container that has any.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir(proc))):
        words = set(_WORD.findall(_group(pid, proc)))
        for any_id in words.intersection(ids):
            # A process that only waits to be reaped does not run.
            stat = process_stat(pid, proc)
            if stat is not None and stat.state not in (b"Z", b"X"):
                found.setdefault(any_id, []).append((stat.started, pid))
    return {any_id: [pid for _, pid in sorted(pids)] for any_id, pids in found.items()}


def kill_started_with(variable: str) -> bool:
    """SIGKILL every process of this user, outside of containers other than ours, that was started
    with an environment variable. Processes of containers are not looked at: reading the environment
    of a process can hang, if its memory is a file on a dead file system.

    Args:
        variable: ``NAME=value``.

    Returns:
        Whether there was one; it may take a moment to end.
    """
    found = False
    for pid in map(int, filter(str.isdigit, os.listdir(_PROC))):
        with suppress(OSError), HeldDescriptor(os.pidfd_open(pid)) as held:
            if is_in_container(pid) or os.stat(f"{_PROC}/{pid}").st_uid != os.geteuid():
                continue
            with open(f"{_PROC}/{pid}/environ", "rb") as file:
                started_with = file.read(_LONGEST).split(b"\0")
            if os.fsencode(variable) in started_with:
                found = True
                signal.pidfd_send_signal(held.descriptor, signal.SIGKILL)
    return found


def is_in_container(pid: int, proc: str = _PROC) -> bool:
    """Whether a process is in a container that this process is not in: what it says of itself, its
    name, its words and its environment, is then the container's.

    Args:
        pid: in our pid namespace.
        proc: where the kernel tells of processes.
    """
    group = _group(pid, proc)
    return _WORD.search(group) is not None and group != _group(os.getpid())


def network_namespace(pid: int, container_id: str) -> str:
    """The path of a container's network namespace; empty if its process is gone.

    Args:
        pid: of its first process, as it was remembered; 0 for none.
        container_id: of the container that the process must belong to.
    """
    try:
        ContainerProcess(pid, container_id).close()
    except ProcessLookupError:
        return ""
    return f"/proc/{pid}/ns/net"


def _outputs(pid: int) -> frozenset[str]:
    """The pipes that its standard output and error are."""
    found = []
    for number in (1, 2):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue
    return frozenset(link for link in found if link.startswith("pipe:"))


def _group(pid: int, proc: str = _PROC) -> str:
    """Its cgroups. All processes of a container have the same, also in the host's pid namespace."""
    try:
        with open(f"{proc}/{pid}/cgroup", "rb") as file:
            return os.fsdecode(file.read())  # its name may be any bytes
    except OSError:
        return ""


def process_tree(root: int) -> list[int]:
    """A process, its descendants, the processes in their sessions, and those of its container that
    write to the same pipes.

    A command that the engine starts has a session and pipes of its own. A process of it that left
    both its parent and its session can be told from the container's other processes only by these
    pipes.

    Args:
        root: pid in our pid namespace.
    """
    facts = {
        pid: stat
        for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        if (stat := process_stat(pid)) is not None
    }
    pipes, group = _outputs(root), _group(root)
    found, frontier = {root}, {root}
    if pipes and group:
        frontier |= {pid for pid in facts if _outputs(pid) & pipes and _group(pid) == group}
        found |= frontier
    while frontier:
        frontier = {
            pid
            for pid, stat in facts.items()
            if pid not in found and (stat.parent in frontier or stat.session in frontier)
        }
        found |= frontier
    return sorted(found)


def kill_process_tree(root: int, container_id: str) -> int:
    """SIGKILL a process tree. First every process is stopped, so that none can fork meanwhile.

    Args:
        root: pid in our pid namespace.
        container_id: only processes in its cgroups are signalled.

    Returns:
        How many were killed.
    """
    held: dict[int, _Signalled] = {}
    try:
        with ContainerProcess(root, container_id):
            while fresh := [pid for pid in process_tree(root) if pid not in held]:
                for pid in fresh:
                    held[pid] = _Signalled(pid, container_id)
                    held[pid].signal(signal.SIGSTOP)
        return sum(process.signal(signal.SIGKILL) for process in held.values())
    except ProcessLookupError:
        return 0
    finally:
        for process in held.values():
            process.close()


class _Signalled(HeldDescriptor):
    """A process of a container, held so that a signal never reaches another process."""

    def __init__(self, pid: int, container_id: str) -> None:
        super().__init__(-1)
        try:
            self.descriptor = os.pidfd_open(pid)
            # The look comes after it is held: a later process with this pid gets no signal.
            ContainerProcess(pid, container_id).close()
        except OSError:
            self.close()

    def signal(self, number: int) -> bool:
        if self.descriptor < 0:
            return False
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True
