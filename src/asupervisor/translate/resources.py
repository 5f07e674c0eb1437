"""CRI resources as the engine's, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.limits import Limits

UPDATABLE = frozenset(
    (
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "CpuShares",
        "CpusetCpus",
        "CpusetMems",
        "Memory",
        "MemoryReservation",
        "MemorySwap",
        "PidsLimit",
    )
)
"""Fields of a HostConfig that ``POST /containers/{id}/update`` changes."""


def clamp_oom_score(score: int, floor: int | None) -> int:
    """The score that the engine can really give; see
    :func:`asupervisor.engine.endpoint.oom_score_floor`.
    """
    return score if floor is None else max(score, floor)


def engine_resources(
    resources: cri.LinuxContainerResources, oom_floor: int | None, subject: str
) -> dict[str, Any]:
    """HostConfig resource settings; huge pages and cgroup v2 keys are in
    :mod:`asupervisor.translate.cgroup_files`.

    Swap is allowed only where CRI sets a limit: MemorySwap (memory plus swap, in bytes) equals
    Memory otherwise.

    Raises:
        InvalidArgument: a score out of range.
    """
    check_oom_score(resources.oom_score_adj, subject)
    settings = _limits(resources)
    settings["MemorySwap"] = resources.memory_swap_limit_in_bytes or resources.memory_limit_in_bytes
    if resources.oom_score_adj:
        settings["OomScoreAdj"] = clamp_oom_score(resources.oom_score_adj, oom_floor)
    return settings


def check_oom_score(score: int, subject: str) -> None:
    """Refuse a score that the kernel does not know.

    Raises:
        InvalidArgument: it names the score.
    """
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"{subject}: oom_score_adj {score} is not between -1000 and 1000")


def _limits(resources: cri.LinuxContainerResources) -> dict[str, Any]:
    """What the engine has a field for, zero where CRI left it at zero."""
    return {
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpuShares": resources.cpu_shares,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "Memory": resources.memory_limit_in_bytes,
        "MemorySwap": resources.memory_swap_limit_in_bytes,
    }


def update_body(
    resources: cri.LinuxContainerResources, host_config: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of ``POST /containers/{id}/update``: what the request leaves at zero stays as it is
    (CRI).

    Args:
        resources: as asked for.
        host_config: as it is; a change of Memory must come with one of MemorySwap, or the engine
            refuses it.
    """
    body = {key: value for key, value in _limits(resources).items() if value}
    memory, swap = int(host_config.get("Memory") or 0), int(host_config.get("MemorySwap") or 0)
    if resources.memory_limit_in_bytes and not resources.memory_swap_limit_in_bytes:
        if swap == -1:
            body["MemorySwap"] = -1
        elif memory and swap > memory:
            # The swap that was granted beyond the memory stays what it is.
            body["MemorySwap"] = resources.memory_limit_in_bytes + swap - memory
        else:
            body["MemorySwap"] = resources.memory_limit_in_bytes
    elif body and memory and swap and not resources.memory_swap_limit_in_bytes:
        # Under the systemd driver runc sets "no swap" without systemd, which removes it again with
        # any change that does not contain it.
        body |= {"Memory": memory, "MemorySwap": swap}
    return body


def cri_resources(host_config: dict[str, Any], beside: Limits) -> cri.LinuxContainerResources:
    """What is enforced, out of the HostConfig and what was set without the engine."""
    return cri.LinuxContainerResources(
        hugepage_limits=[
            cri.HugepageLimit(page_size=size, limit=limit)
            for size, limit in sorted(beside.cgroup.hugepages.items())
        ],
        unified=beside.cgroup.unified,
        cpu_period=host_config.get("CpuPeriod") or 0,
        cpu_quota=host_config.get("CpuQuota") or 0,
        cpu_shares=host_config.get("CpuShares") or 0,
        cpuset_cpus=host_config.get("CpusetCpus") or "",
        cpuset_mems=host_config.get("CpusetMems") or "",
        memory_limit_in_bytes=host_config.get("Memory") or 0,
        memory_swap_limit_in_bytes=host_config.get("MemorySwap") or 0,
        oom_score_adj=(host_config.get("OomScoreAdj") or 0)
        if beside.oom_score_adj is None
        else beside.oom_score_adj,
    )


def container_cgroup(parent: str, driver: str, container_id: str) -> str:
    """Where the engine puts a container among the cgroups, as a path within the hierarchy; empty
    where that depends on where the engine itself is.

    Args:
        parent: the engine's CgroupParent; empty for its default.
        driver: the engine's, ``cgroupfs`` or ``systemd``.
        container_id: of the container.

    Source: Docker Engine's documentation of ``--cgroup-parent``, systemd.slice(5) for the path of a
    slice.
    """
    if driver == "systemd":
        name = (parent or "system.slice").removesuffix(".slice")
        parts = name.split("-") if name != "-" else []
        slices = ("-".join(parts[: count + 1]) + ".slice" for count in range(len(parts)))
        return "/" + "/".join((*slices, f"docker-{container_id}.scope"))
    parent = parent or "/docker"
    return f"{parent.rstrip('/')}/{container_id}" if parent.startswith("/") else ""


def cgroup_parent(parent: str, driver: str) -> str:
    """The engine's CgroupParent: the path under cgroupfs, its last element under systemd."""
    return parent.rstrip("/").rsplit("/", 1)[-1] if driver == "systemd" and parent else parent
