"""What one session of tests may leave on the machine: it is found, named, and then removed.

The session has a mount and a network namespace of its own (:mod:`tests.harness.namespace`), so a
process in one of these was started by it. Control groups are the machine's: those of pods have
the session's name, those of other containers are known by the container's id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

NAME = os.environ.setdefault(
    "ASUPERVISOR_TEST_SESSION" + os.environ.get("PYTEST_XDIST_WORKER", ""), str(os.getpid())
)
"""Of this session, in the names of its cgroups; programs that it starts inherit it. Each of several
workers is a session of its own."""

POD_SLICE = f"asupervisor{NAME}"
CONFORMANCE_SLICE = f"conformance{NAME}"

_PATIENCE_S = 10.0
_containers: set[str] = set()

Processes = Callable[[], dict[int, str]]


def remember_containers(ids: Iterable[str]) -> None:
    """Containers of an engine that is about to be destroyed: their cgroups must go too."""
    _containers.update(ids)


class Before:
    """What is there when the session begins, in its own namespaces."""

    def __init__(self) -> None:
        self._mounts = _mounts()

    def left(self) -> list[str]:
        """What the session left, one sentence each, after some patience; it is removed.

        Processes are killed, mounts detached, cgroups removed, so that the next session starts from
        nothing."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end and (_processes() or self._new_mounts()):
            time.sleep(0.05)  # the pause of this poll: two things, which end apart
        found = []
        for pid, command in _processes().items():
            found.append(f"process {pid}: {command}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for mount in sorted(self._new_mounts(), reverse=True):
            found.append(f"mount {mount}")
            subprocess.run(["umount", "-l", mount], check=False)
        return found + _remove_cgroups()

    def _new_mounts(self) -> set[str]:
        return _mounts() - self._mounts


def _mounts() -> set[str]:
    """Mount points that this process sees, network namespaces that a mount holds among them."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line.split()[4].encode().decode("unicode_escape") for line in lines}


def _processes() -> dict[int, str]:
    """Processes in the session's namespaces, by pid, without this one and those that ended."""
    own = {_namespace("self", kind) for kind in ("mnt", "net")}
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if not {_namespace(entry, kind) for kind in ("mnt", "net")} & own:
                continue
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended
        if command and "multiprocessing.resource_tracker" not in command:
            found[int(entry)] = command.strip()[:200]
    return found


def _namespace(pid: str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def _remove_cgroups() -> list[str]:
    """Remove the session's cgroups from every hierarchy; those that hold a process are named.

    A cgroup of a container is named as well, since its runtime should have removed it; the parents
    of pods are left by every runtime, as kubelet removes them on a node."""
    found = []
    if Path("/run/systemd/system").is_dir():
        slices = [f"{POD_SLICE}.slice", f"{CONFORMANCE_SLICE}.slice"]
        subprocess.run(["systemctl", "stop", *slices], check=False, stderr=subprocess.DEVNULL)
    for root in _hierarchies():
        for path in [*root.glob(f"{POD_SLICE}*"), *root.glob(f"{CONFORMANCE_SLICE}*")]:
            found += [f"cgroup {left}" for left in _remove_tree(path)]
        for container in sorted(_containers):
            for path in (root / "docker" / container, root / "system.slice" / container):
                if path.is_dir():
                    found.append(f"cgroup {path}")
                    _remove_tree(path)
    return found


def _remove_tree(path: Path) -> list[Path]:
    """Remove a cgroup and those below it; the ones that could not be removed."""
    left = []
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            left.append(Path(directory))
    return left


def _hierarchies() -> Iterator[Path]:
    """Where the control groups of each hierarchy are, of cgroup v1 and v2."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            yield Path(before.split()[4])
