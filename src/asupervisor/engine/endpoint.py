"""Where the engine listens, and what to tell an operator when nothing answers there."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asupervisor.conditions import Reason
from asupervisor.errors import ConfigError, FailedPrecondition, Internal
from asupervisor.host.peers import listener_holders, listener_process

DEFAULT_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
MINIMUM_API_VERSION = (1, 41)
"""Docker Engine 20.10: the oldest engine that is supported."""
NEWEST_API_VERSION = (1, 56)
"""Docker Engine after 29.7: the newest API that this code was written for; it is also used with
newer engines.
"""


def resolve_endpoint(configured: str) -> str:
    """The engine's address: the configured one, else ``DOCKER_HOST``, else the usual socket,
    whether or not it is there yet.

    Args:
        configured: ``unix://…``, ``tcp://…``, ``http(s)://…`` or a path; empty for the defaults.

    Raises:
        ConfigError: a scheme that no engine speaks.
    """
    endpoint = configured or os.environ.get("DOCKER_HOST", "") or f"unix://{DEFAULT_SOCKETS[0]}"
    if endpoint.startswith("/"):
        endpoint = f"unix://{endpoint}"
    if not endpoint.startswith(("unix://", "tcp://", "http://", "https://")):
        raise ConfigError(f'--docker-endpoint: "{endpoint}" is not a unix:// or tcp:// address')
    return endpoint


def choose_api_version(version: Mapping[str, Any]) -> tuple[int, int]:
    """The newest API version that both sides speak.

    Args:
        version: the engine's ``/version``, with the newest (ApiVersion) and, from 1.24 on, the
            oldest (MinAPIVersion) that it answers in.

    Raises:
        FailedPrecondition: there is none; the versions of both sides are named.
        Internal: the engine gave something that is not a version.
    """
    newest = _parse_version(version.get("ApiVersion"))
    oldest = _parse_version(version.get("MinAPIVersion") or "0.0")
    chosen = min(newest, NEWEST_API_VERSION)
    if chosen >= max(oldest, MINIMUM_API_VERSION):
        return chosen
    remedy = (
        "upgrade the engine (20.10 is the oldest supported)"
        if newest < MINIMUM_API_VERSION
        else "upgrade this service, or lower the engine's min-api-version"
    )
    raise FailedPrecondition(
        f"Docker Engine {version.get('Version')} speaks API {_span(oldest, newest)}, this service"
        f" {_span(MINIMUM_API_VERSION, NEWEST_API_VERSION)}: {remedy}",
        operation="negotiate",
    )


def _span(oldest: tuple[int, int], newest: tuple[int, int]) -> str:
    return f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"


def _parse_version(text: object) -> tuple[int, int]:
    major, _, minor = str(text).partition(".")
    try:
        return int(major), int(minor.split(".")[0] or 0)
    except ValueError as error:
        raise Internal(
            f'Docker Engine gave "{text}" as its API version', operation="negotiate"
        ) from error


def find_daemon() -> str | None:
    """The path of ``dockerd``, also outside of an ordinary user's PATH."""
    return shutil.which(
        "dockerd",
        path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin",
    )


def socket_path(endpoint: str) -> str | None:
    """The file of a ``unix://`` endpoint; None for any other."""
    return endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else None


def diagnose(endpoint: str) -> tuple[Reason, str]:
    """Why nothing answers at an endpoint, found out by looking at the node, not at an error's text.

    Returns:
        A reason (not installed, not running, no permission, unreachable) and one sentence that says
        what to do.
    """
    path = socket_path(endpoint)
    if path is None:
        return (
            Reason.ENGINE_UNREACHABLE,
            (
                f"no Docker Engine answers at {endpoint}; check that it runs and that the address"
                " is right"
            ),
        )
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        return (
            Reason.ENGINE_PERMISSION_DENIED,
            f"no permission to look at {path}; run as root or as a member of the socket's group",
        )
    except OSError:
        mode = 0
    if mode and not stat.S_ISSOCK(mode):
        return (
            Reason.ENGINE_UNREACHABLE,
            f"{path} is not a socket; set --docker-endpoint to the engine's socket",
        )
    if mode and not os.access(path, os.R_OK | os.W_OK):
        return (
            Reason.ENGINE_PERMISSION_DENIED,
            f"no permission to use {path}; run as root or as a member of the socket's group",
        )
    if find_daemon() is None:
        return (
            Reason.ENGINE_NOT_INSTALLED,
            (
                f"no Docker Engine is installed and none listens on {path}; install Docker Engine"
                " 20.10 or later"
            ),
        )
    return (
        Reason.ENGINE_NOT_RUNNING,
        (
            f"Docker Engine is installed but does not answer on {path}; start it (systemctl start"
            " docker)"
        ),
    )


def daemon_process(endpoint: str) -> int | None:
    """The process id of the ``dockerd`` behind a unix socket; None where it cannot be told.

    The kernel names who made the socket listen. Under socket activation (``docker.socket``) that is
    systemd, and behind a proxy the proxy, so it counts only if it is a ``dockerd``; else the one
    ``dockerd`` that has the listening socket open is taken.
    """
    path = socket_path(endpoint)
    if path is None:
        return None
    peer = listener_process(path)
    if peer is None or peer == os.getpid():
        return None
    if is_daemon(peer):
        return peer
    daemons = [pid for pid in listener_holders(path) if is_daemon(pid)]
    return daemons[0] if len(daemons) == 1 else None


def is_daemon(pid: int) -> bool:
    """Whether a process is a ``dockerd``: never the system's first one, nor this one."""
    if pid <= 1 or pid == os.getpid():
        return False
    try:
        if os.path.basename(os.readlink(f"/proc/{pid}/exe")).split(" ")[0] == "dockerd":
            return True
        return Path(f"/proc/{pid}/comm").read_text() == "dockerd\n"
    except OSError:
        return False


_CAP_SYS_RESOURCE = 24


def oom_score_floor(endpoint: str) -> int | None:
    """The lowest ``oom_score_adj`` that the engine may give a container; None when it may give any.

    A daemon without CAP_SYS_RESOURCE (nested, rootless) cannot lower the score below its own, and
    runc then fails with a message that names neither. The daemon's own status is read where it can
    be seen, ours where it cannot."""
    pid = daemon_process(endpoint)
    process = (
        Path(f"/proc/{pid}")
        if pid is not None and Path(f"/proc/{pid}/status").exists()
        else Path("/proc/self")
    )
    try:
        status = (process / "status").read_text()
        capabilities = next(
            int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")
        )
        initial_namespace = (process / "uid_map").read_text().split() == ["0", "0", "4294967295"]
        if capabilities >> _CAP_SYS_RESOURCE & 1 and initial_namespace:
            return None
        return max(0, int((process / "oom_score_adj").read_text()))
    except (OSError, StopIteration, ValueError):
        return None
