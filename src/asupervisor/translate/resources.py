"""CRI resources as the engine's, and back."""

from __future__ import annotations

from typing import Any

from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri


def clamp_oom_score(score: int, floor: int | None) -> int:
    """The score that the engine can really give; see ``oom_score_floor`` in the engine room."""
    return score if floor is None else max(score, floor)


def engine_resources(resources: cri.LinuxContainerResources, oom_floor: int | None, subject: str) -> dict[str, Any]:
    """HostConfig resource settings.

    Swap is allowed only where CRI sets a limit: MemorySwap (memory plus swap, in bytes) equals Memory otherwise.

    Raises:
        FailedPrecondition: a huge page limit or a unified setting, for which the engine API has no field.
    """
    for limit in resources.hugepage_limits:
        if limit.limit > 0:
            raise FailedPrecondition(f"{subject}: Docker Engine cannot limit huge pages of {limit.page_size} for a container")
    if resources.unified:
        keys = ", ".join(sorted(resources.unified))
        raise FailedPrecondition(f"{subject}: Docker Engine cannot set cgroup v2 keys ({keys}) for a container")
    settings: dict[str, Any] = {
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpuShares": resources.cpu_shares,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "Memory": resources.memory_limit_in_bytes,
        "MemorySwap": resources.memory_swap_limit_in_bytes or resources.memory_limit_in_bytes,
    }
    if resources.oom_score_adj:
        settings["OomScoreAdj"] = clamp_oom_score(resources.oom_score_adj, oom_floor)
    return settings


def cri_resources(host_config: dict[str, Any]) -> cri.LinuxContainerResources:
    """What the engine really enforces, out of an inspect document's HostConfig."""
    return cri.LinuxContainerResources(
        cpu_period=host_config.get("CpuPeriod") or 0,
        cpu_quota=host_config.get("CpuQuota") or 0,
        cpu_shares=host_config.get("CpuShares") or 0,
        cpuset_cpus=host_config.get("CpusetCpus") or "",
        cpuset_mems=host_config.get("CpusetMems") or "",
        memory_limit_in_bytes=host_config.get("Memory") or 0,
        memory_swap_limit_in_bytes=host_config.get("MemorySwap") or 0,
        oom_score_adj=host_config.get("OomScoreAdj") or 0,
    )


def cgroup_parent(parent: str, driver: str) -> str:
    """The engine's CgroupParent: the path as given under cgroupfs, its last element under systemd."""
    return parent.rstrip("/").rsplit("/", 1)[-1] if driver == "systemd" and parent else parent
