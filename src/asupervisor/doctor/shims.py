"""A second service on the engine, cri-dockerd, and what is left of that and of dockershim."""

from __future__ import annotations

import os
import stat
from itertools import pairwise

from asupervisor.config import MANAGED_ENGINE
from asupervisor.doctor.finding import Finding, Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.doctor.sockets import may_connect
from asupervisor.engine.endpoint import resolve_endpoint, socket_path
from asupervisor.errors import ConfigError
from asupervisor.host.peers import listener_process

_NAME = "asupervisor"
_NAMED_WITHIN = 6
"""Words of a command line: an interpreter, its flags, -m."""
_SOCKETS = ("/var/run/cri-dockerd.sock", "/var/run/dockershim.sock")
_ROOTS = ("/var/lib/cri-dockerd", "/var/lib/dockershim")
_UNITS = (
    "/etc/systemd/system/multi-user.target.wants/cri-docker.service",
    "/etc/systemd/system/sockets.target.wants/cri-docker.socket",
)


def running(node: Node) -> Found:
    """No second shim drives the engine, now or after the next boot."""
    found: list[Finding] = [
        error(
            f"another service drives this engine too (process {pid}: {' '.join(words)}): both make"
            " and remove the same pods",
            f"stop it (systemctl status {pid} names its unit), or give it an engine of its own",
        )
        for pid, words in _services(node)
    ]
    found += [
        error(
            f"cri-dockerd runs too (process {pid}): both make and remove the same pods",
            "systemctl disable --now cri-docker.socket cri-docker.service",
        )
        for pid in node.processes("cri-dockerd")
    ]
    for unit in _UNITS:
        if os.path.lexists(node.path(unit)):
            name = os.path.basename(unit)
            found.append(warning(f"{name} starts at the next boot", f"systemctl disable {name}"))
    return found or ok("no other shim runs")


def _services(node: Node) -> list[tuple[int, list[str]]]:
    """Those of this program that use the engine and are not the one that is looked at."""
    if node.config.docker_endpoint == MANAGED_ENGINE:
        return []  # nobody else knows of it
    engine = socket_path(resolve_endpoint(node.config.docker_endpoint))
    if engine is None:
        return []
    found = []
    for pid, words in node.command_lines():
        names = [os.path.basename(word) for word in words[:_NAMED_WITHIN]]
        flags = words[names.index(_NAME) + 1 :] if _NAME in names else None
        if flags is None or pid == node.service_pid or (flags and not flags[0].startswith("-")):
            continue  # another program, the one that is looked at, or a client's verb
        try:  # by its file, since a process in a container may have one of the same name
            used = socket_path(resolve_endpoint(_engine_of(node, pid, flags))) or ""
            if os.path.samefile(node.path(f"/proc/{pid}/root{used}"), node.path(engine)):
                found.append((pid, words))
        except (OSError, ConfigError):
            continue
    return found


def _engine_of(node: Node, pid: int, flags: list[str]) -> str:
    words = node.text(f"/proc/{pid}/environ").split("\0")
    told = dict(word.split("=", 1) for word in words if "=" in word)
    for flag, following in pairwise([*flags, ""]):
        name, joined, value = flag.partition("=")
        if name == "--docker-endpoint":
            return value if joined else following
    return told.get("ASUPERVISOR_DOCKER_ENDPOINT") or told.get("DOCKER_HOST", "")


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
            said = f"{path} is left, none listens, and kubelet may be told of it"
            found.append(warning(said, f"rm {path}"))
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
