"""Where the service listens, and whether another process does."""

from __future__ import annotations

import os
import stat

from asupervisor.addresses import parse_bind_address
from asupervisor.doctor.finding import Finding, Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.doctor.reasons import remedy
from asupervisor.engine.endpoint import socket_path
from asupervisor.host.peers import listener_process
from asupervisor.translate.documents import text

_LONGEST_PATH_BYTES = 107
_LISTENS = "0A"
_SHIMS = ("cri-dockerd", "containerd", "crio", "kubelet")


def service(node: Node) -> Found:
    """Whether it answers, and says that it is ready."""
    if node.service_problem:
        return error(
            f"a process listens on {node.config.runtime_endpoint} and does not answer:"
            f" {node.service_problem}",
            "look at the service's log; systemctl restart asupervisor",
        )
    if node.service_pid is None and not may_connect(socket_path(node.config.runtime_endpoint)):
        return warning(f"no permission to ask {node.config.runtime_endpoint}", "run this as root")
    if node.service_pid is None:
        return warning(
            f"no service answers on {node.config.runtime_endpoint}", "systemctl start asupervisor"
        )
    found: list[Finding] = [
        error(f"{kind} is false, {reason}: {message}", remedy(reason))
        for kind, reason, message in node.service_conditions
    ]
    return found or ok(f"it answers on {node.config.runtime_endpoint} and is ready")


def cri_socket(node: Node) -> Found:
    """Whether the CRI's socket is the service's, and the one that kubelet uses."""
    endpoint = node.config.runtime_endpoint
    kubelets = text(node.kubelet, "containerRuntimeEndpoint")
    path = socket_path(endpoint) if endpoint.startswith("unix://") else endpoint
    if path is None or not path.startswith("/"):
        return ok(f"{endpoint}: the socket is systemd's")
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        return error(
            f"{path} is longer than {_LONGEST_PATH_BYTES} bytes: no socket can be there",
            "give --container-runtime-endpoint a shorter one",
        )
    if kubelets and os.path.realpath(kubelets.removeprefix("unix://")) != os.path.realpath(path):
        return error(
            f"kubelet speaks to {kubelets}, the service listens on {endpoint}",
            f"make containerRuntimeEndpoint in {node.kubelet_place} the same",
        )
    return _at(node, path)


def _at(node: Node, path: str) -> Found:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            return error(f"there is no directory {os.path.dirname(path)}", "make it")
        return ok(f"no process listens on {path}")
    if not stat.S_ISSOCK(status.st_mode):
        return error(f"{path} is not a socket", "remove it: the service cannot listen there")
    if not may_connect(path):
        return warning(f"no permission to ask who listens on {path}", "run this as root")
    pid = listener_process(path)
    if pid is None:
        return warning(
            f"{path} is left of a service that ended",
            "nothing: the next start replaces it; if it is another shim's, remove it",
        )
    name = node.command(pid)
    if name in _SHIMS:
        return error(
            f"{name} (process {pid}) listens on {path}", f"stop {name}, or use another path"
        )
    if status.st_mode & stat.S_IWOTH:
        return warning(
            f"every user may use {path}, which gives the rights of root", f"chmod 0660 {path}"
        )
    return ok(f"process {pid} listens on {path}")


def may_connect(path: str | None) -> bool:
    """Whether we could connect to a socket there; True if there is none."""
    return path is None or os.access(path, os.W_OK) or not os.access(path, os.F_OK)


def ports(node: Node) -> Found:
    """Whether the configured ports are free, or the service's; and whether streams have TLS."""
    found: list[Finding] = []
    streaming = node.config.streaming
    wanted = {"--streaming-bind-addr": streaming.bind_port}
    if address := node.config.metrics_bind_address:
        flag = "--metrics-bind-addr"
        _, wanted[flag] = parse_bind_address(address, flag, default_port=0)
    taken = _listening(node) if node.service_pid is None else ()
    found += [
        error(
            f"{flag}: another process listens on port {port}",
            f"ss -ltnp sport = :{port} says who; stop it or choose another port",
        )
        for flag, port in wanted.items()
        if port and port in taken
    ]
    if not streaming.tls_cert_file and not _is_loopback(streaming.bind_host):
        found.append(
            warning(
                f"exec, attach and port-forward are served on {streaming.bind_host or 'every'}"
                " address without TLS",
                "leave the host out of --streaming-bind-addr, or give --streaming-tls-cert-file",
            )
        )
    return found or ok("the ports are free, or the service's own")


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "localhost")


def _listening(node: Node) -> set[int]:
    """TCP ports that a process listens on."""
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = node.text(f"/proc/net/{name}").splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 3 and fields[3] == _LISTENS:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found
