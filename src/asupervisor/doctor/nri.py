"""Plugins of the Node Resource Interface: their socket, and the runtime for what they want."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from asupervisor.doctor.finding import Finding, Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.host.peers import listener_holders
from asupervisor.host.program import run_program
from asupervisor.oci import RUNTIME
from asupervisor.oci.wrapper import wrapper_path
from asupervisor.translate.documents import text
from asupervisor.translate.runtimes import wrapped_runtime

_PROBES = (("--version", 0), ("create", 1))
"""A command that is passed on, and one that changes a document, which must fail without a
container; each with its exit code."""


def plugins(node: Node) -> Found:
    """Whether only root can reach their socket, and it is the service's."""
    nri = node.config.nri
    if nri.disable or nri.disable_connections:
        return ok("no NRI plugin connects by itself")
    found = list[Finding]()
    directory = os.path.dirname(nri.socket_path)
    if os.path.isdir(directory) and (problem := _open_to_others(directory)):
        found.append(
            error(
                f"{problem}: an NRI plugin has the rights of root",
                f"chown root {directory}; chmod 0700 {directory}",
            )
        )
    holders = listener_holders(nri.socket_path)  # not by connecting: that would count as a plugin
    if holders and node.service_pid not in holders:
        found.append(
            warning(
                f"process {holders[0]} listens on {nri.socket_path}: the service takes no NRI"
                " plugins",
                "stop it and restart the service, or give --nri-socket-path",
            )
        )
    return found or ok(f"NRI plugins connect to {nri.socket_path}")


async def runtime(node: Node) -> Found:
    """Whether the runtime that changes OCI documents can run, if the engine has it."""
    if node.engine is None or node.config.nri.disable:
        return []
    path = wrapper_path(node.config.root_directory)
    if not text(node.engine.info, "Runtimes", RUNTIME, "path"):
        return ok(f"no runtime {RUNTIME}: adjustments that need it are refused (docs/nri.md)")
    wrapped = wrapped_runtime(node.engine.info, path)
    if wrapped.problem:
        return error(f"the runtime {RUNTIME} cannot be used", wrapped.problem)
    if problem := _open_to_others(os.path.dirname(path)):
        return error(f"{problem}: the engine runs it as root", "restart the service")
    for command, expected in _PROBES:
        ended = await run_program((path, command), deadline_s=node.deadline_s)
        if ended.returncode != expected:
            return error(
                f"{path} {command} ends with {ended.returncode}:"
                f" {ended.stderr.decode(errors='replace').strip()}",
                "restart the service, which writes it anew; the root directory must not be noexec",
            )
    return ok(f"the runtime {RUNTIME} calls {wrapped.program}")


def _open_to_others(directory: str) -> str:
    status = Path(directory).stat()
    if status.st_uid == 0 and not status.st_mode & 0o077:
        return ""
    return f"{directory} is of user {status.st_uid} with mode {stat.S_IMODE(status.st_mode):04o}"
