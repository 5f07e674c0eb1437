"""Resources that plugins ask for, in the form that the engine takes."""

from __future__ import annotations

from typing import Any

from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from asupervisor.translate.resources import UPDATABLE

_BY_CLASS = (
    "classes of block I/O and RDT are an OCI runtime's configuration, which Docker Engine does not"
    " have; set the limits themselves, as unified"
)
_REFUSED = (
    ("memory", "kernel", "Linux has no limit of kernel memory any more; set memory.limit"),
    ("memory", "kernel_tcp", "Docker Engine has no field for it; set memory.limit"),
    ("memory", "use_hierarchy", "Linux sets it itself; leave it out"),
    ("", "blockio_class", _BY_CLASS),
    ("", "rdt_class", _BY_CLASS),
)
_AT_CREATION_ONLY = (
    ("memory", "swappiness", "MemorySwappiness"),
    ("memory", "disable_oom_killer", "OomKillDisable"),
)
_ENGINE_ONLY = (
    ("memory", "reservation", "MemoryReservation"),
    ("cpu", "realtime_runtime", "CpuRealtimeRuntime"),
    ("cpu", "realtime_period", "CpuRealtimePeriod"),
)


def with_resources(
    base: cri.LinuxContainerResources, asked: api.LinuxResources
) -> cri.LinuxContainerResources:
    """Resources of the CRI, changed by what plugins ask for and the CRI has a field for."""
    changed = cri.LinuxContainerResources()
    changed.CopyFrom(base)
    memory, cpu = asked.memory, asked.cpu
    if memory.HasField("limit") and memory.limit.value != base.memory_limit_in_bytes:
        changed.memory_limit_in_bytes = memory.limit.value
        # As in NRI's reference implementation: memory.limit also limits memory and swap together,
        # unless both are given.
        changed.memory_swap_limit_in_bytes = memory.limit.value
    if memory.HasField("swap"):
        changed.memory_swap_limit_in_bytes = memory.swap.value
    if cpu.HasField("shares"):
        changed.cpu_shares = _int64(cpu.shares.value)
    if cpu.HasField("quota"):
        changed.cpu_quota = cpu.quota.value
    if cpu.HasField("period"):
        changed.cpu_period = _int64(cpu.period.value)
    changed.cpuset_cpus = cpu.cpus or changed.cpuset_cpus
    changed.cpuset_mems = cpu.mems or changed.cpuset_mems
    limits = {entry.page_size: entry.limit for entry in changed.hugepage_limits}
    limits.update({entry.page_size: entry.limit for entry in asked.hugepage_limits})
    del changed.hugepage_limits[:]
    for page_size, limit in limits.items():
        changed.hugepage_limits.add(page_size=page_size, limit=limit)
    changed.unified.update(asked.unified)
    return changed


def engine_settings(asked: api.LinuxResources, subject: str, creating: bool) -> dict[str, Any]:
    """Those that only the engine has a field for, as keys of a HostConfig.

    Args:
        asked: by plugins.
        subject: names the container and who asks, for errors.
        creating: whether the container is created; else it is updated.

    Raises:
        FailedPrecondition: something that this engine cannot be given; it says what to do instead.
    """
    for part, name, remedy in _REFUSED:
        if _part(asked, part).HasField(name):
            raise FailedPrecondition(f"{subject}: {name} cannot be set: {remedy}")
    settings: dict[str, Any] = {}
    for part, name, key in (*_ENGINE_ONLY, *_AT_CREATION_ONLY):
        source = _part(asked, part)
        if not source.HasField(name):
            continue
        if not creating and key not in UPDATABLE:
            raise FailedPrecondition(f"{subject}: {name} can be set at the creation alone")
        settings[key] = _int64(getattr(source, name).value)
    if "OomKillDisable" in settings:
        settings["OomKillDisable"] = bool(settings["OomKillDisable"])
    if asked.HasField("pids"):
        settings["PidsLimit"] = asked.pids.limit
    rules = []
    for rule in asked.devices:
        numbers = ":".join(
            str(getattr(rule, name).value) if rule.HasField(name) else "*"
            for name in ("major", "minor")
        )
        rules.append(f"{rule.type or 'a'} {numbers} {rule.access or 'rwm'}")
    if rules:
        settings["DeviceCgroupRules"] = rules
    return settings


def _part(asked: api.LinuxResources, part: str) -> Any:
    return getattr(asked, part) if part else asked


def _int64(value: int) -> int:
    return min(value, (1 << 63) - 1)
