"""A second service or cri-dockerd on the same engine, and what cri-dockerd and dockershim left."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from itertools import pairwise

from asupervisor.config import MANAGED_ENGINE
from asupervisor.doctor.finding import Finding, Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.doctor.sockets import may_connect
from asupervisor.engine.endpoint import resolve_endpoint, socket_path
from asupervisor.errors import ConfigError, DeadlineExceeded
from asupervisor.host.beneath import look_within
from asupervisor.host.lanes import Lane
from asupervisor.host.peers import listener_process

_NAME, _OTHER = "asupervisor", "cri-dockerd"
_NAMED_WITHIN = 6
"""So many words of a command line: before the name may be an interpreter, its flags, -m."""
_SOCKETS = ("/var/run/cri-dockerd.sock", "/var/run/dockershim.sock")
_ROOTS = ("/var/lib/cri-dockerd", "/var/lib/dockershim")
_UNITS = (
    "/etc/systemd/system/multi-user.target.wants/cri-docker.service",
    "/etc/systemd/system/sockets.target.wants/cri-docker.socket",
)


async def running(node: Node) -> Found:
    """Whether a second shim uses the engine, now or after the next boot."""
    found, in_containers = _on_the_node(node), list[Finding]()
    lane = Lane("look at containers", width=1, deadline_s=node.deadline_s / 2)
    pids, programs = node.pids(in_containers=True), (_NAME, _OTHER)
    try:
        await lane.run("/proc", _add_users, node, pids, programs, in_containers)
    except DeadlineExceeded:
        found.append(
            warning(
                "not every container could be looked at: the memory of a process hangs",
                "findmnt names file systems; docker ps shows whether a container is another shim",
            )
        )
    return [*found, *in_containers] or ok("no other shim runs")


def _on_the_node(node: Node) -> list[Finding]:
    found = [_runs(pid, [_OTHER]) for pid in node.processes(_OTHER)]
    for unit in _UNITS:
        if os.path.lexists(node.path(unit)):
            name = os.path.basename(unit)
            found.append(warning(f"{name} starts at the next boot", f"systemctl disable {name}"))
    _add_users(node, node.pids(in_containers=False), (_NAME,), found)
    return found


def _runs(pid: int, words: list[str]) -> Finding:
    if _OTHER in map(os.path.basename, words[:_NAMED_WITHIN]):
        return error(
            f"cri-dockerd runs too (process {pid}): both make and remove the same pods",
            "systemctl disable --now cri-docker.socket cri-docker.service",
        )
    return error(
        f"another service drives this engine too (process {pid}: {' '.join(words)}): both make"
        " and remove the same pods",
        f"stop it (systemctl status {pid} names its unit), or give it an engine of its own",
    )


def _add_users(
    node: Node, pids: Sequence[int], programs: Sequence[str], found: list[Finding]
) -> None:
    """Add a finding for each process of these programs, except the service itself, that uses the
    same engine. In a container any process may have such a name; the kernel says what it uses.
    """
    if node.config.docker_endpoint == MANAGED_ENGINE:
        return  # no other service uses it
    engine = socket_path(resolve_endpoint(node.config.docker_endpoint))
    if engine is None:
        return
    for pid in pids:
        words = node.words(pid)
        names = [os.path.basename(word) for word in words[:_NAMED_WITHIN]]
        at = next((at for at, name in enumerate(names) if name in programs), None)
        flags = words[at + 1 :] if at is not None else None
        if flags is None or pid == node.service_pid or (flags and not flags[0].startswith("-")):
            continue  # another program, the service itself, or a client's verb
        try:
            used = socket_path(resolve_endpoint(_engine_of(node, pid, flags))) or ""
            theirs = look_within(node.path(f"/proc/{pid}/root"), used)
            if os.path.samestat(theirs, os.stat(node.path(engine))):
                found.append(_runs(pid, words))
        except (OSError, ConfigError):
            continue


def _engine_of(node: Node, pid: int, flags: list[str]) -> str:
    words = node.text(f"/proc/{pid}/environ").split("\0")
    told = dict(word.split("=", 1) for word in words if "=" in word)
    for flag, following in pairwise([*flags, ""]):
        name, joined, value = flag.partition("=")
        if name == "--docker-endpoint":
            return value if joined else following
    return told.get("ASUPERVISOR_DOCKER_ENDPOINT") or told.get("DOCKER_HOST", "")


def left(node: Node) -> Found:
    """Whether sockets or checkpoints of theirs are left, which mislead kubelet or the operator."""
    found: list[Finding] = []
    ours = os.path.realpath(node.path(node.config.root_directory))
    for path in _SOCKETS:
        try:
            is_socket = stat.S_ISSOCK(os.stat(node.path(path)).st_mode)
        except FileNotFoundError:
            continue
        if is_socket and may_connect(node.path(path)) and listener_process(node.path(path)) is None:
            said = f"{path} is left, nobody listens on it, and kubelet may be set to it"
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
