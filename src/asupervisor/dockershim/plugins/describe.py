"""Pods and containers as plugins see them, out of the node state and the engine's documents."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from asupervisor.node.records import ContainerRecord, ImageRecord, SandboxRecord
from asupervisor.proto import cri
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.documents import (
    at,
    flag,
    mapping,
    sequence,
    text,
    text_map,
    texts,
    whole,
)
from asupervisor.translate.resources import container_cgroup

_STATES = {
    cri.CONTAINER_CREATED: api.CONTAINER_CREATED,
    cri.CONTAINER_RUNNING: api.CONTAINER_RUNNING,
    cri.CONTAINER_EXITED: api.CONTAINER_STOPPED,
}
_OPTIONS = {
    cri.PROPAGATION_PRIVATE: "rprivate",
    cri.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    cri.PROPAGATION_BIDIRECTIONAL: "rshared",
}
_OF_ENGINE = (
    ("/etc/resolv.conf", "ResolvConfPath"),
    ("/etc/hostname", "HostnamePath"),
    ("/etc/hosts", "HostsPath"),
)
_USER = re.compile(r"([0-9]{1,9})(?::([0-9]{1,9}))?", re.ASCII)
_UNLIMITED = (1 << 64) - 1


def describe_pod(
    record: SandboxRecord,
    checkpoint: Checkpoint | None,
    driver: str,
    addresses: tuple[str, ...] = (),
) -> api.PodSandbox:
    """A pod.

    Args:
        record: its sandbox.
        checkpoint: what was kept of its request.
        driver: the engine's cgroup driver.
        addresses: of one whose network was just made; else the record's.
    """
    status = record.status
    network = status.network
    ips = addresses or tuple(
        filter(None, (network.ip, *(further.ip for further in network.additional_ips)))
    )
    extra = checkpoint.extra if checkpoint is not None else {}
    options = status.linux.namespaces.options
    shared = {
        "network": record.host_network,
        "ipc": options.ipc == cri.NODE,
        "pid": options.pid == cri.NODE,
    }
    pod = api.PodSandbox(
        id=record.id,
        name=status.metadata.name,
        uid=status.metadata.uid,
        namespace=status.metadata.namespace,
        labels=status.labels,
        annotations=status.annotations,
        runtime_handler=status.runtime_handler,
        pid=record.pid,
        ips=ips,
    )
    pod.linux.cgroup_parent = record.cgroup_parent
    pod.linux.cgroups_path = _cgroups_path(record.cgroup_parent, driver, record.id)
    for key, target in (
        ("overhead", pod.linux.pod_overhead),
        ("resources", pod.linux.pod_resources),
    ):
        if key in extra:
            target.CopyFrom(nri_resources(_kept(extra[key])))
    for kind in ("network", "ipc", "pid", "mount", "uts"):
        if not shared.get(kind, False):
            pod.linux.namespaces.append(_namespace(kind, record.pid))
    return pod


def _kept(document: Any) -> cri.LinuxContainerResources:
    resources = cri.LinuxContainerResources()
    try:
        ParseDict(document, resources, ignore_unknown_fields=True)
    except ParseError:
        return cri.LinuxContainerResources()
    return resources


def _namespace(kind: str, pid: int) -> api.LinuxNamespace:
    name = {"network": "net", "mount": "mnt"}.get(kind, kind)
    return api.LinuxNamespace(type=kind, path=f"/proc/{pid}/ns/{name}" if pid else "")


def _cgroups_path(parent: str, driver: str, container_id: str) -> str:
    """As an OCI document has it: ``slice:prefix:name`` under systemd."""
    if driver == "systemd":
        return f"{parent or 'system.slice'}:docker:{container_id}"
    return container_cgroup(parent, driver, container_id)


def describe_container(
    record: ContainerRecord,
    sandbox: SandboxRecord | None,
    document: Any,
    image: ImageRecord | None,
    driver: str,
) -> api.Container:
    """A container, without its devices.

    Args:
        record: of the container.
        sandbox: its sandbox.
        document: its inspect document, of any content; empty if the engine could not be asked.
        image: what it was made of.
        driver: the engine's cgroup driver.
    """
    status, host_config = record.status, mapping(document, "HostConfig")
    container = api.Container(
        id=record.id,
        pod_sandbox_id=record.sandbox_id,
        name=status.metadata.name,
        state=_STATES.get(status.state, api.CONTAINER_UNKNOWN),
        labels=status.labels,
        annotations=status.annotations,
        args=[
            argument for argument in (text(document, "Path"), *texts(document, "Args")) if argument
        ],
        # An entry without a value removes a variable of the image.
        env=[entry for entry in texts(document, "Config", "Env") if "=" in entry],
        mounts=_mounts(status, document, host_config),
        pid=record.pid,
        rlimits=list(_rlimits(host_config)),
        created_at=status.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        status_reason=status.reason,
        status_message=status.message,
        CDI_devices=[api.CDIDevice(name=name) for name in _cdi_devices(host_config)],
        image=api.Image(
            name=status.image.image or record.image_name,
            digest=_digest(image),
            config_digest=status.image_id,
        ),
    )
    _set_user(container, status, text(document, "Config", "User"))
    linux = container.linux
    linux.cgroups_path = _cgroups_path(record.cgroup_parent, driver, record.id)
    linux.oom_score_adj.value = status.resources.linux.oom_score_adj
    linux.resources.CopyFrom(_resources(status.resources.linux, host_config))
    linux.sysctl.update(text_map(host_config, "Sysctls"))
    linux.seccomp_profile.CopyFrom(_seccomp(texts(host_config, "SecurityOpt")))
    linux.namespaces.extend(_namespaces(host_config, sandbox))
    return container


def _digest(image: ImageRecord | None) -> str:
    digests = image.image.repo_digests if image is not None else ()
    return digests[0].rpartition("@")[2] if digests else ""


def _set_user(container: api.Container, status: cri.ContainerStatus, asked: str) -> None:
    user = status.user.linux
    if status.HasField("user") and status.user.HasField("linux"):
        container.user.uid, container.user.gid = user.uid, user.gid
        container.user.additional_gids.extend(user.supplemental_groups)
    elif (numbers := _USER.fullmatch(asked)) is not None:
        container.user.uid, container.user.gid = int(numbers[1]), int(numbers[2] or 0)


def _mounts(
    status: cri.ContainerStatus, document: Any, host_config: dict[str, Any]
) -> Iterator[api.Mount]:
    for target, key in _OF_ENGINE:
        if source := text(document, key):
            options = ["rbind", "rprivate"]
            yield api.Mount(destination=target, type="bind", source=source, options=options)
    for mount in status.mounts:
        options = [
            "rbind",
            _OPTIONS.get(mount.propagation, "rprivate"),
            "ro" if mount.readonly else "rw",
        ]
        yield api.Mount(
            destination=mount.container_path, type="bind", source=mount.host_path, options=options
        )
    for target, words in text_map(host_config, "Tmpfs").items():
        yield api.Mount(destination=target, type="tmpfs", source="tmpfs", options=words.split(","))


def _rlimits(host_config: dict[str, Any]) -> Iterator[api.POSIXRlimit]:
    for limit in sequence(host_config, "Ulimits"):
        soft, hard = whole(limit, "Soft"), whole(limit, "Hard")
        yield api.POSIXRlimit(
            type=f"RLIMIT_{text(limit, 'Name').upper()}",
            soft=soft if soft >= 0 else _UNLIMITED,
            hard=hard if hard >= 0 else _UNLIMITED,
        )


def _cdi_devices(host_config: dict[str, Any]) -> Iterator[str]:
    for request in sequence(host_config, "DeviceRequests"):
        if text(request, "Driver") == "cdi":
            yield from texts(request, "DeviceIDs")


def describe_devices(document: Any) -> list[api.LinuxDevice]:
    """A container's devices; the host's files are looked at, which may hang."""
    found = []
    for entry in sequence(document, "HostConfig", "Devices"):
        device = api.LinuxDevice(path=text(entry, "PathInContainer"))
        try:
            status = os.stat(text(entry, "PathOnHost"))
        except (OSError, ValueError):
            found.append(device)
            continue
        if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            continue
        device.type = "c" if stat.S_ISCHR(status.st_mode) else "b"
        device.major, device.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        device.file_mode.value = status.st_mode & 0o7777
        device.uid.value, device.gid.value = status.st_uid, status.st_gid
        found.append(device)
    return found


def _seccomp(options: Iterable[str]) -> api.SecurityProfile:
    profile = api.SecurityProfile(profile_type=api.SecurityProfile.RUNTIME_DEFAULT)
    for option in options:
        if option == "seccomp=unconfined":
            profile.profile_type = api.SecurityProfile.UNCONFINED
        elif option.startswith("seccomp="):
            profile.profile_type = api.SecurityProfile.LOCALHOST
    return profile


def _namespaces(
    host_config: dict[str, Any], sandbox: SandboxRecord | None
) -> Iterator[api.LinuxNamespace]:
    yield api.LinuxNamespace(type="mount")
    for kind, key in (
        ("network", "NetworkMode"),
        ("ipc", "IpcMode"),
        ("pid", "PidMode"),
        ("uts", "UTSMode"),
    ):
        mode = text(host_config, key)
        if mode == "host" or (mode.startswith("container:") and _shares_with_host(kind, sandbox)):
            continue
        joined = mode == f"container:{sandbox.id}" if sandbox is not None else False
        yield _namespace(kind, sandbox.pid if joined and sandbox is not None else 0)
    if text(host_config, "CgroupnsMode") == "private":
        yield api.LinuxNamespace(type="cgroup")


def _shares_with_host(kind: str, sandbox: SandboxRecord | None) -> bool:
    if sandbox is None:
        return False
    options = sandbox.status.linux.namespaces.options
    return bool(
        (kind == "network" and sandbox.host_network)
        or (kind == "ipc" and options.ipc == cri.NODE)
        or (kind == "pid" and options.pid == cri.NODE)
    )


def _resources(
    resources: cri.LinuxContainerResources, host_config: dict[str, Any]
) -> api.LinuxResources:
    described = nri_resources(resources)
    memory, cpu = described.memory, described.cpu
    if reservation := whole(host_config, "MemoryReservation"):
        memory.reservation.value = reservation
    if isinstance(at(host_config, "MemorySwappiness"), int):
        memory.swappiness.value = whole(host_config, "MemorySwappiness", low=0)
    if flag(host_config, "OomKillDisable"):
        memory.disable_oom_killer.value = True
    if runtime := whole(host_config, "CpuRealtimeRuntime"):
        cpu.realtime_runtime.value = runtime
    if period := whole(host_config, "CpuRealtimePeriod", low=0):
        cpu.realtime_period.value = period
    if (limit := whole(host_config, "PidsLimit")) > 0:
        described.pids.limit = limit
    return described


def nri_resources(resources: cri.LinuxContainerResources) -> api.LinuxResources:
    """The CRI's resources as NRI has them; what is at zero is not set."""
    described = api.LinuxResources(
        cpu=api.LinuxCPU(cpus=resources.cpuset_cpus, mems=resources.cpuset_mems),
        hugepage_limits=[
            api.HugepageLimit(page_size=entry.page_size, limit=entry.limit)
            for entry in resources.hugepage_limits
        ],
        unified=resources.unified,
    )
    for target, value in (
        (described.cpu.shares, max(0, resources.cpu_shares)),
        (described.cpu.quota, resources.cpu_quota),
        (described.cpu.period, max(0, resources.cpu_period)),
        (described.memory.limit, resources.memory_limit_in_bytes),
        (described.memory.swap, resources.memory_swap_limit_in_bytes),
    ):
        if value:
            target.value = value  # reading a message field does not set it
    return described
