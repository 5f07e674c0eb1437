"""The first process of a container, found in its cgroup while its engine starts it.

An engine answers a start only when the container's program runs. Long before that, its process is
in its cgroup, with namespaces of its own; until it executes the program it runs the OCI runtime.
Other processes of the runtime are in that cgroup for a moment too; they have no pid namespace of
their own."""

from __future__ import annotations

import functools
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
import anyio.to_thread

from asupervisor.errors import FailedPrecondition, NotFound
from asupervisor.host.cgroups import Hierarchies
from asupervisor.host.netns import HeldNamespace, until_ipv6_is_off
from asupervisor.host.processes import ContainerProcess

_CONTROLLERS = ("pids", "memory", "cpu", "name=systemd")
"""Controllers of cgroup v1 in which every engine makes a cgroup for a container; the first that is
mounted is used.
"""
_PATIENCE_S = 30.0
_SHORTEST_PAUSE_S = 0.008
_PART_OF_WAIT = 12
"""Each pause is this part of the time waited so far. So a wait of 30 s has less than 100 pauses,
and a process is found soon after it is there: the engine answers tens of milliseconds later.
"""
_MOST_PROCESSES = 64
"""Processes that are looked at each time: the runtime has three at most."""


@dataclass(frozen=True, slots=True)
class FirstProcess:
    """A container's first process as it was found.

    Args:
        pid: in our pid namespace.
        namespace: its network namespace, to be closed by the caller.
        path: of the namespace, for plugins.
    """

    pid: int
    namespace: HeldNamespace
    path: str


async def find_first_process(
    container_id: str, cgroup: str, wait_for_ipv6_off: bool
) -> FirstProcess | None:
    """Wait for the first process of a container that is being started.

    Args:
        container_id: of the container, 64 hex digits.
        cgroup: its path in the hierarchy; it need not be there yet.
        wait_for_ipv6_off: wait until the engine has switched IPv6 off in the namespace, which would
            remove addresses that were given before.

    Returns:
        None if it was not found within half a minute, or cgroups are not mounted here.
    """
    directory = _mounted().container_directory(cgroup, _CONTROLLERS)
    if not directory:
        return None
    began = anyio.current_time()
    while (waited_s := anyio.current_time() - began) < _PATIENCE_S:
        if (found := _look(directory, container_id)) is not None:
            if not wait_for_ipv6_off:
                return found
            with ExitStack() as unwanted:
                unwanted.callback(found.namespace.close)
                if not await _ipv6_off(found, _PATIENCE_S - waited_s):
                    return None
                unwanted.pop_all()
            return found
        await anyio.sleep(max(_SHORTEST_PAUSE_S, waited_s / _PART_OF_WAIT))
    return None


def _look(directory: str, container_id: str) -> FirstProcess | None:
    try:
        with open(f"{directory}/cgroup.procs", "rb") as file:
            pids = file.read(16 * _MOST_PROCESSES).split()[:_MOST_PROCESSES]
    except OSError:
        return None
    for pid in map(int, pids):
        try:
            with ContainerProcess(pid, container_id) as process:
                if not process.is_first():
                    continue
                namespace = HeldNamespace(process.open("ns/net"))
        except OSError:
            continue
        if namespace.identity != _own_namespace():
            return FirstProcess(pid, namespace, f"/proc/{pid}/ns/net")
        # The runtime has not given it a namespace yet.
        namespace.close()
    return None


async def _ipv6_off(found: FirstProcess, within_s: float) -> bool:
    enough = threading.Event()
    wait = functools.partial(until_ipv6_is_off, found.namespace.path, enough)
    try:
        with anyio.move_on_after(within_s):
            return await anyio.to_thread.run_sync(wait, abandon_on_cancel=True)
        return False
    except (NotFound, FailedPrecondition):
        return False
    finally:
        enough.set()


def _own_namespace() -> tuple[int, int]:
    status = os.stat("/proc/self/ns/net")
    return (status.st_dev, status.st_ino)


@functools.cache
def _mounted() -> Hierarchies:
    return Hierarchies.mounted()
