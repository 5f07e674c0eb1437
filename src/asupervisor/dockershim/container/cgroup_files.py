"""Writing limits to a container's cgroup files that the engine API has no field for."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from asupervisor.engine.endpoint import socket_path
from asupervisor.errors import FailedPrecondition
from asupervisor.host.atomic import write_all
from asupervisor.host.beneath import HeldDirectory
from asupervisor.host.cgroups import Hierarchies
from asupervisor.host.descriptor import HeldDescriptor
from asupervisor.translate.cgroup_files import CgroupFeatures, CgroupSettings, cgroup_writes


@cache
def cgroup_features(endpoint: str) -> CgroupFeatures:
    """What this node's cgroups can do; looked at once, since the list of mounts is long where many
    containers run.

    Args:
        endpoint: the engine's address; one that is not a unix socket may be on another machine.
    """
    mounted = Hierarchies.mounted()
    local = socket_path(endpoint) is not None
    if mounted.v1.get("memory") or mounted.v2 is None:
        return CgroupFeatures(v2=False, controllers=frozenset(mounted.v1), local=local)
    try:
        controllers = Path(mounted.v2[0], "cgroup.controllers").read_text().split()
    except OSError:
        controllers = []
    return CgroupFeatures(v2=True, controllers=frozenset(controllers), local=local)


def write_cgroup_files(settings: CgroupSettings, proc_cgroup: str, container_id: str) -> None:
    """Write them for a running container: in its own cgroup's directories, and nowhere else.

    Args:
        settings: what to write.
        proc_cgroup: the text of ``/proc/<pid>/cgroup`` of its first process.
        container_id: for the search of its cgroup, and for errors.

    Raises:
        FailedPrecondition: a file is not there, or the kernel refuses the value.
    """
    mounted = Hierarchies.mounted()
    own, _ = mounted.locate(proc_cgroup, container_id)
    for directory, name, content in cgroup_writes(settings, own.v1.get("hugetlb", ""), own.v2):
        try:
            if container_id not in directory:
                raise FileNotFoundError(f"the container has no cgroup for {name}")
            # Never made where it is missing: only the kernel makes files in a cgroup.
            with (
                HeldDirectory.at(directory) as held,
                HeldDescriptor(held.open(name, os.O_WRONLY)) as file,
            ):
                write_all(file.descriptor, content.encode())
        except OSError as error:
            raise FailedPrecondition(
                f"container {container_id[:12]}: {content} cannot be written to {name}: {error}",
                subject=container_id,
            ) from error
