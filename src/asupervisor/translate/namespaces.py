"""CRI namespace options as engine modes, and back."""

from __future__ import annotations

from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri

HOST = "host"
_PREFIX = "container:"


def refuse_user_namespaces(options: cri.NamespaceOption, subject: str) -> None:
    """Docker Engine has one user namespace mapping for the whole daemon, so a pod cannot have its
    own.

    Raises:
        InvalidArgument: any mode but NODE, or a mapping.
    """
    if not options.HasField("userns_options"):
        return
    user = options.userns_options
    if user.mode != cri.NODE:
        mode = cri.NamespaceMode.Name(user.mode)
        raise InvalidArgument(
            f"{subject}: user namespace mode {mode} is not supported by Docker Engine, which maps"
            " users for the whole daemon; use NODE"
        )
    if user.uids or user.gids:
        raise InvalidArgument(f"{subject}: user namespace mode NODE takes no uid or gid mappings")


def needs_host_users(options: cri.NamespaceOption, privileged: bool) -> bool:
    """Whether a sandbox or container cannot run with mapped users: an engine with ``userns-remap``
    refuses to give such a one the host's network or pids, or privileges.
    """
    return privileged or cri.NODE in (options.network, options.pid, options.ipc)


def sandbox_modes(
    options: cri.NamespaceOption, engine_network_mode: str, subject: str
) -> dict[str, Any]:
    """HostConfig modes of a sandbox.

    Args:
        options: the sandbox's namespace options.
        engine_network_mode: what the network plugin wants for a pod that is not on the host's
            network.
        subject: names the pod in errors.

    Raises:
        InvalidArgument: TARGET, or CONTAINER for network or ipc: a sandbox has nothing to share
            with.
    """
    _check_shared(options, "a sandbox", subject)
    if options.pid == cri.TARGET:
        raise InvalidArgument(f"{subject}: pid namespace mode TARGET is not valid for a sandbox")
    return {
        "NetworkMode": HOST if options.network == cri.NODE else engine_network_mode,
        "IpcMode": HOST if options.ipc == cri.NODE else "shareable",
        "PidMode": HOST if options.pid == cri.NODE else "",
    }


def container_modes(
    options: cri.NamespaceOption,
    sandbox_id: str,
    on_host_network: bool,
    target_id: str,
    subject: str,
) -> dict[str, Any]:
    """HostConfig modes of a container in a sandbox.

    Args:
        options: the container's namespace options.
        sandbox_id: full id of its sandbox.
        on_host_network: whether the sandbox is; network and ipc are the sandbox's whatever the
            container's options say, since POD is also what they say when they are not set.
        target_id: full id of the container that ``options.target_id`` names; empty where it names
            none.
        subject: names the container in errors.

    Raises:
        InvalidArgument: TARGET without a target, CONTAINER or TARGET for network or ipc, or the
            host's network for a container of a pod that is not on it.
    """
    _check_shared(options, "a container", subject)
    if options.pid == cri.TARGET and not target_id:
        raise InvalidArgument(f"{subject}: pid namespace mode TARGET needs a target_id")
    if options.network == cri.NODE and not on_host_network:
        raise InvalidArgument(
            f"{subject}: network namespace mode NODE in a pod that is not on the host's network"
        )
    pid = {cri.NODE: HOST, cri.POD: _PREFIX + sandbox_id, cri.TARGET: _PREFIX + target_id}.get(
        options.pid, ""
    )
    modes: dict[str, Any] = {
        "NetworkMode": _PREFIX + sandbox_id,
        "IpcMode": _PREFIX + sandbox_id,
        "PidMode": pid,
    }
    if on_host_network:
        modes["UTSMode"] = HOST
    return modes


def _check_shared(options: cri.NamespaceOption, whose: str, subject: str) -> None:
    refuse_user_namespaces(options, subject)
    for what, mode in (("network", options.network), ("ipc", options.ipc)):
        if mode not in (cri.POD, cri.NODE):
            raise InvalidArgument(
                f"{subject}: {what} namespace mode {cri.NamespaceMode.Name(mode)} is not valid for"
                f" {whose}"
            )


def sandbox_namespaces(
    host_config: dict[str, Any], asked_pod_pid: bool = False
) -> cri.NamespaceOption:
    """Namespace options of a sandbox, out of its HostConfig.

    Args:
        host_config: as inspected.
        asked_pod_pid: whether pid namespace mode POD was asked for, which the engine cannot tell
            from CONTAINER.
    """
    return cri.NamespaceOption(
        network=cri.NODE if host_config.get("NetworkMode") == HOST else cri.POD,
        ipc=cri.NODE if host_config.get("IpcMode") == HOST else cri.POD,
        # Docker gives every container its own pid namespace unless told otherwise; the sandbox's is
        # the pod's.
        pid=(
            cri.NODE
            if host_config.get("PidMode") == HOST
            else cri.POD
            if asked_pod_pid
            else cri.CONTAINER
        ),
    )
