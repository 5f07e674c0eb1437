"""Docker Engine: whether it answers, and whether it is set up for pods.

All checks except the first say nothing if it does not answer."""

from __future__ import annotations

import os

from asupervisor.conditions import Reason
from asupervisor.config import MANAGED_ENGINE
from asupervisor.doctor.finding import Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.doctor.reasons import remedy
from asupervisor.engine.endpoint import NEWEST_API_VERSION
from asupervisor.node.orphans import last_store
from asupervisor.translate.documents import sequence, text, texts

_SLOW_DRIVERS = {
    "vfs": "it copies every layer whole",
    "native": "it copies every layer whole",
    "devicemapper": "it was removed in 25.0",
}
_SLOW_DRIVERS |= {"aufs": "it was removed in 24.0", "overlay": "it was removed in 24.0"}
_REMOTE_LOGS = {"awslogs", "fluentd", "gcplogs", "gelf", "splunk", "syslog", "logentries"}
_MOST_WARNINGS = 20


def reachable(node: Node) -> Found:
    """The reason of not ready that ``Status`` would give."""
    if node.engine is not None:
        named = text(node.engine.version, "Version") or "of an unknown version"
        return ok(f"Docker Engine {named} answers at {node.engine.endpoint}")
    if node.engine_problem is None:
        return []
    reason, message = node.engine_problem
    if reason == Reason.ENGINE_PERMISSION_DENIED and os.geteuid() != 0:
        return warning(f"cannot ask the engine: {message}", "run this as root")
    if node.config.docker_endpoint == MANAGED_ENGINE and node.service_pid is None:
        return error(f"{reason}: {message}", "start the service: it runs this engine itself")
    return error(f"{reason}: {message}", remedy(reason))


def version(node: Node) -> Found:
    """The range of API versions that both sides speak."""
    if node.engine is None:
        return []
    said = node.engine.version
    span = f"{text(said, 'MinAPIVersion') or '?'} to {text(said, 'ApiVersion') or '?'}"
    used = ".".join(map(str, node.engine.api_version))
    newest = ".".join(map(str, NEWEST_API_VERSION))
    if node.engine.api_version == NEWEST_API_VERSION and text(said, "ApiVersion") != newest:
        return warning(
            f"the engine's API {span} is newer than this service, which uses {used}",
            "upgrade this service",
        )
    return ok(f"API {span}; this service uses {used}")


def cgroup_driver(node: Node) -> Found:
    """Whether the engine's, kubelet's and that of ``--cgroup-driver`` are the same."""
    if node.engine is None:
        return []
    has = node.engine.cgroup_driver
    remedy_ = (
        'make them the same: "exec-opts": ["native.cgroupdriver=systemd"] in the engine\'s'
        " daemon.json"
    )
    others = {
        "--cgroup-driver": node.config.cgroup_driver,
        f"cgroupDriver in {node.kubelet_place}": text(node.kubelet, "cgroupDriver"),
    }
    for name, wanted in others.items():
        if wanted and wanted != has:
            return error(f'the engine uses "{has}", {name} is "{wanted}"', remedy_)
    version_2 = text(node.engine.info, "CgroupVersion") == "2"
    if has == "cgroupfs" and version_2 and node.command(1) == "systemd":
        return warning(
            "the engine uses cgroupfs under systemd with cgroup v2: both write the same tree",
            'set "exec-opts": ["native.cgroupdriver=systemd"] in its daemon.json',
        )
    told = [name for name, wanted in others.items() if wanted]
    return ok(f"the engine uses {has}" + "".join(f", as {name} says" for name in told))


def storage_driver(node: Node) -> Found:
    """Whether it is fast, and still there in later engines."""
    if node.engine is None:
        return []
    driver = text(node.engine.info, "Driver")
    if driver in _SLOW_DRIVERS:
        return warning(
            f"storage driver {driver}: {_SLOW_DRIVERS[driver]}",
            'set "storage-driver": "overlay2" in daemon.json; images are fetched anew then',
        )
    if ["Supports d_type", "false"] in sequence(node.engine.info, "DriverStatus"):
        return error(
            f"storage driver {driver} on a file system without d_type: files vanish in layers",
            "make the file system anew with ftype=1 (mkfs.xfs -n ftype=1)",
        )
    return ok(f"storage driver {driver}")


def log_driver(node: Node) -> Found:
    """Whether it keeps logs and does not stop containers."""
    if node.engine is None:
        return []
    driver = text(node.engine.info, "LoggingDriver")
    if driver == "none":
        return error(
            'log driver "none": containers have no logs at all',
            'set "log-driver": "json-file" in daemon.json',
        )
    if driver in _REMOTE_LOGS:
        return warning(
            f'log driver "{driver}": a container cannot start, or stops, while its server is away',
            'set "log-driver": "json-file" in daemon.json, or its option mode=non-blocking',
        )
    return ok(f"log driver {driver}")


def live_restore(node: Node) -> Found:
    """Whether containers keep running while the engine restarts."""
    if node.engine is None:
        return []
    if node.engine.info.get("LiveRestoreEnabled") is True:
        return ok("containers keep running while the engine restarts")
    return warning(
        "live-restore is off: a restart of the engine ends every container",
        'set "live-restore": true in daemon.json; systemctl reload docker',
    )


def image_store(node: Node) -> Found:
    """Whether the engine still keeps containers where the service saw them last."""
    if node.engine is None:
        return []
    kind = "containerd" if node.engine.containerd_store else "classic"
    now = f"{text(node.engine.info, 'Driver')} in {text(node.engine.info, 'DockerRootDir')}"
    before = last_store(node.path(node.config.root_directory))
    if before not in ("", now):
        return error(
            f"the engine keeps containers as {now}, and kept them as {before} when the service"
            " saw it last: it does not know the pods from there",
            "start the engine with that image store, storage driver and data root again, or drain"
            " the node",
        )
    return ok(f"{kind} image store, {now}")


def user_namespaces(node: Node) -> Found:
    """Whether the engine runs pods with the users of the host."""
    if node.engine is None:
        return []
    if node.engine.has_security("rootless"):
        return error(
            "the engine is rootless: it cannot set limits, OOM scores or networks of pods",
            "run the engine as root",
        )
    if node.engine.has_security("userns"):
        return warning(
            "userns-remap is on: what pods write to volumes has other owners than kubelet expects",
            'remove "userns-remap" from daemon.json',
        )
    return ok("no userns-remap")


def oom_score(node: Node) -> Found:
    """Whether the engine may give containers the scores that kubelet asks for."""
    if node.engine is None:
        return []
    if node.engine.oom_floor is None:
        return ok("the engine may set any oom_score_adj")
    return warning(
        f"the engine may not lower oom_score_adj below {node.engine.oom_floor}: critical pods are"
        " killed as early as others",
        "run the engine with CAP_SYS_RESOURCE in the host's user namespace",
    )


def engine_warnings(node: Node) -> Found:
    """What the engine itself warns of."""
    if node.engine is None:
        return []
    told = texts(node.engine.info, "Warnings")[:_MOST_WARNINGS]
    if not told:
        return ok("the engine has no warnings")
    return warning(
        f"the engine says: {'; '.join(one.removeprefix('WARNING: ') for one in told)}",
        "see docker info, and the engine's documentation on it",
    )
