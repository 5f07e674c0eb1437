"""What is left of cri-dockerd and of kubelet's own dockershim."""

from __future__ import annotations

import os
import stat

from asupervisor.doctor.finding import Finding, Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.doctor.sockets import may_connect
from asupervisor.host.peers import listener_process

_SOCKETS = ("/var/run/cri-dockerd.sock", "/var/run/dockershim.sock")
_ROOTS = ("/var/lib/cri-dockerd", "/var/lib/dockershim")
_UNITS = (
    "/etc/systemd/system/multi-user.target.wants/cri-docker.service",
    "/etc/systemd/system/sockets.target.wants/cri-docker.socket",
)


def running(node: Node) -> Found:
    """No second shim drives the engine, now or after the next boot."""
    found: list[Finding] = []
    for pid in node.processes("cri-dockerd"):
        found.append(
            error(
                f"cri-dockerd runs too (process {pid}): both make and remove the same pods",
                "systemctl disable --now cri-docker.socket cri-docker.service",
            )
        )
    for unit in _UNITS:
        if os.path.lexists(node.path(unit)):
            found.append(
                warning(
                    f"{os.path.basename(unit)} starts at the next boot",
                    f"systemctl disable {os.path.basename(unit)}",
                )
            )
    return found or ok("no other shim runs")


def left(node: Node) -> Found:
    """No socket and no checkpoint of theirs is misleading."""
    found: list[Finding] = []
    ours = os.path.realpath(node.path(node.config.root_directory))
    for path in _SOCKETS:
        try:
            is_socket = stat.S_ISSOCK(os.stat(node.path(path)).st_mode)
        except FileNotFoundError:
            continue
        if is_socket and may_connect(node.path(path)) and listener_process(node.path(path)) is None:
            found.append(
                warning(
                    f"{path} is left, none listens, and kubelet may be told of it", f"rm {path}"
                )
            )
    for root in _ROOTS:
        place = node.path(f"{root}/sandbox")
        if os.path.realpath(node.path(root)) == ours:
            continue
        try:
            with os.scandir(place) as entries:
                some = any(True for _ in entries)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if some:
            found.append(
                warning(
                    f"{root}/sandbox has checkpoints of pods that this service does not look at",
                    f"give --root-directory {root}, or remove them once no such pod is left",
                )
            )
    return found or ok("nothing is left of other shims")
