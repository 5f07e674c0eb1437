"""Limits that the engine has no field for, or cannot change: this service sets them itself for a
container's process and cgroup.
"""

from __future__ import annotations

from asupervisor.dockershim.container.cgroup_files import write_cgroup_files
from asupervisor.errors import FailedPrecondition
from asupervisor.host.processes import ContainerProcess, process_stat
from asupervisor.proto import cri
from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.limits import Limits


def cgroup_settings_of(resources: cri.LinuxContainerResources) -> CgroupSettings:
    """The part of a container's resources that is written to its cgroup files."""
    return CgroupSettings(
        {entry.page_size: entry.limit for entry in resources.hugepage_limits},
        dict(resources.unified),
    )


def apply_limits(limits: Limits, pid: int, container_id: str) -> None:
    """Set them for a running container.

    Args:
        limits: what to set.
        pid: of its first process.
        container_id: whose process it has to be, and for errors.

    Raises:
        FailedPrecondition: it ended, or the kernel refuses a value.
    """
    subject = f"container {container_id[:12]}"
    try:
        process = ContainerProcess(pid, container_id)
    except ProcessLookupError as error:
        raise FailedPrecondition(
            f"{subject} ended before its limits could be set", subject=container_id
        ) from error
    with process:
        if limits.cgroup:
            write_cgroup_files(limits.cgroup, process.cgroup, container_id)
        if limits.oom_score_adj is not None:
            try:
                # The first process gets it, and what it starts from then on.
                process.write("oom_score_adj", str(limits.oom_score_adj))
            except OSError as error:
                raise FailedPrecondition(
                    f"{subject}: oom_score_adj {limits.oom_score_adj} cannot be set: {error}"
                ) from error


def has_ended(pid: int) -> bool:
    """Whether a process is gone or is a zombie."""
    stat = process_stat(pid)
    return stat is None or stat.state in (b"Z", b"X")
