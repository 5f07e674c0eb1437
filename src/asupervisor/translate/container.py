"""A CRI container as an engine container."""

from __future__ import annotations

import posixpath
from typing import Any

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.accounts import Identity
from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.labels import check_labels, container_labels
from asupervisor.translate.mounts import engine_mounts
from asupervisor.translate.names import SANDBOX_CONTAINER_NAME, container_name
from asupervisor.translate.namespaces import HOST, container_modes
from asupervisor.translate.resources import cgroup_parent, engine_resources
from asupervisor.translate.security import ReadProfile, container_security
from asupervisor.translate.signals import engine_signal

_SHM_BYTES = 64 << 20
_PATH_BYTES = 4096
"""Linux' PATH_MAX."""
CDI_SINCE = (1, 50)
"""The API by which an engine tells its CDI devices."""


def check_container_config(
    config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig
) -> None:
    """Refuse what cannot be created, before anything is.

    Raises:
        InvalidArgument: it names the field.
    """
    if not config.metadata.name:
        raise InvalidArgument("the container config needs metadata with a name")
    if not sandbox_config.metadata.name:
        raise InvalidArgument(
            f"container {config.metadata.name}: the request has no sandbox_config with metadata"
        )
    subject = container_subject(config, sandbox_config)
    if not config.image.image:
        raise InvalidArgument(f"{subject}: no image is named")
    if config.HasField("windows"):
        raise InvalidArgument(
            f"{subject}: this node runs Linux; the windows config cannot be applied"
        )
    if not 0 < len(config.metadata.name) <= 255:
        raise InvalidArgument(f"{subject}: a container name has at most 255 bytes")
    check_labels(config.labels, subject)
    if len(config.working_dir.encode()) >= _PATH_BYTES:
        raise InvalidArgument(f"{subject}: the working_dir is longer than a path can be")
    for entry in config.envs:
        if not entry.key or "=" in entry.key:
            raise InvalidArgument(
                f'{subject}: "{entry.key}" is not the name of an environment variable'
            )
        if b"\0" in entry.value:
            raise InvalidArgument(
                f"{subject}: the value of the environment variable {entry.key} holds a zero byte"
            )
    for device in config.devices:
        if not device.host_path:
            raise InvalidArgument(f'{subject}: a device "{device.container_path}" has no host_path')
        if not device.host_path.startswith("/"):
            raise InvalidArgument(
                f'{subject}: the host_path "{device.host_path}" of a device must be absolute'
            )
        if set(device.permissions) - set("rwm"):
            raise InvalidArgument(
                f'{subject}: the permissions "{device.permissions}" of device {device.host_path}'
                " are not of r, w and m"
            )
    if config.log_path.startswith("/"):
        raise InvalidArgument(
            f'{subject}: log_path "{config.log_path}" must be relative to the sandbox\'s'
            " log_directory"
        )
    if config.log_path and posixpath.normpath(config.log_path) == ".":
        raise InvalidArgument(f'{subject}: log_path "{config.log_path}" names no file')
    if ".." in config.log_path.split("/"):
        raise InvalidArgument(
            f'{subject}: log_path "{config.log_path}" leads out of the sandbox\'s log_directory'
        )
    if posixpath.normpath(config.log_path).count("/") > 1:
        raise InvalidArgument(
            f'{subject}: log_path "{config.log_path}" has more than a directory and a file, so that'
            " it could not be kept from leading out of the sandbox's log_directory by a link"
        )
    for mount in config.mounts:
        if mount.host_path and not mount.host_path.startswith("/"):
            raise InvalidArgument(
                f'{subject}: the host_path "{mount.host_path}" of mount {mount.container_path} must'
                " be absolute"
            )


def container_subject(config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig) -> str:
    """A container in the words of errors and logs: ``container name of pod namespace/name``."""
    metadata = sandbox_config.metadata
    return f"container {config.metadata.name} of pod {metadata.namespace}/{metadata.name}"


def log_path(config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig) -> str:
    """The CRI log file: log_directory and log_path joined; empty where either is missing."""
    if not config.log_path or not sandbox_config.log_directory:
        return ""
    path = posixpath.normpath(f"{sandbox_config.log_directory}/{config.log_path}")
    return f"/{path.lstrip('/')}"


def engine_container_name(config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig) -> str:
    """The engine container's name.

    Raises:
        InvalidArgument: it could not be read back, or is a sandbox's.
    """
    pod = sandbox_config.metadata
    if config.metadata.name == SANDBOX_CONTAINER_NAME:
        raise InvalidArgument(
            f'{container_subject(config, sandbox_config)}: the name "{SANDBOX_CONTAINER_NAME}" is'
            " that of the sandbox itself"
        )
    return container_name(
        config.metadata.name, pod.name, pod.namespace, pod.uid, config.metadata.attempt
    )


def container_body(
    config: cri.ContainerConfig,
    sandbox_config: cri.PodSandboxConfig,
    *,
    sandbox_id: str,
    runtime: str,
    on_host_network: bool,
    host_users: bool = False,
    target_id: str,
    identity: Identity,
    cgroup: CgroupSettings,
    cgroup_driver: str,
    api_version: tuple[int, int],
    oom_floor: int | None,
    selinux_enabled: bool,
    apparmor_enabled: bool,
    read_profile: ReadProfile,
    log_config: dict[str, Any] | None,
) -> dict[str, Any]:
    """The body of ``POST /containers/create`` for a container of a sandbox.

    Args:
        config: its host paths resolved and checked.
        sandbox_config: of its sandbox.
        sandbox_id: the sandbox's full id.
        runtime: the sandbox's OCI runtime.
        on_host_network: whether the sandbox is.
        host_users: whether it has the host's users although the engine maps users.
        target_id: full id of the container whose pid namespace it joins (TARGET); empty for none.
        identity: the user and groups that it runs as.
        cgroup: what is written to its cgroup files once it runs.
        cgroup_driver: the engine's.
        api_version: the engine's.
        oom_floor: the lowest oom_score_adj that it can give; None for no limit.
        selinux_enabled, apparmor_enabled: what the engine's host has.
        read_profile: reads localhost seccomp profiles.
        log_config: how much the engine keeps of its log; None for the engine's default.

    Raises:
        ServiceError: a setting that cannot be applied.
    """
    subject = container_subject(config, sandbox_config)
    context = config.linux.security_context
    security = container_security(context, identity.groups, read_profile, apparmor_enabled, subject)
    if not config.linux.HasField("security_context") and not context.privileged:
        # Nobody said which paths to mask, which is not the same as saying that none are.
        del security["MaskedPaths"], security["ReadonlyPaths"]
    mounts, binds = engine_mounts(list(config.mounts), api_version, selinux_enabled, subject)
    labels = container_labels(
        config.labels,
        config.annotations,
        sandbox_id,
        log_path(config, sandbox_config),
        config.image.user_specified_image,
        cgroup.label() if cgroup else "",
    )
    body: dict[str, Any] = {
        "Image": config.image.image,
        "Entrypoint": list(config.command) or None,
        "Cmd": list(config.args) or None,
        "Env": _environment(config, subject),
        "WorkingDir": config.working_dir,
        "User": identity.user,
        "Labels": labels,
        "OpenStdin": config.stdin,
        "StdinOnce": config.stdin_once,
        "Tty": config.tty,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **container_modes(
                context.namespace_options, sandbox_id, on_host_network, target_id, subject
            ),
            **security,
            **engine_resources(config.linux.resources, oom_floor, subject),
            "CgroupParent": cgroup_parent(sandbox_config.linux.cgroup_parent, cgroup_driver),
            "Mounts": mounts,
            "Binds": binds,
            "Devices": [
                {
                    "PathOnHost": device.host_path,
                    "PathInContainer": device.container_path or device.host_path,
                    "CgroupPermissions": device.permissions or "rwm",
                }
                for device in config.devices
            ],
            "RestartPolicy": {"Name": "no"},
            "ShmSize": _SHM_BYTES,
            "Runtime": runtime,
        },
    }
    if host_users:
        body["HostConfig"]["UsernsMode"] = HOST
    if log_config is not None:
        body["HostConfig"]["LogConfig"] = log_config
    if config.CDI_devices:
        if api_version < CDI_SINCE:
            raise FailedPrecondition(
                f"{subject}: CDI devices need Docker Engine API {CDI_SINCE[0]}.{CDI_SINCE[1]}"
                f" (Docker 28.3); this engine speaks {api_version[0]}.{api_version[1]}"
            )
        body["HostConfig"]["DeviceRequests"] = [
            {"Driver": "cdi", "DeviceIDs": [device.name for device in config.CDI_devices]}
        ]
    if config.stop_signal != cri.SIGNAL_RUNTIME_DEFAULT:
        body["StopSignal"] = engine_signal(config.stop_signal)
    return body


def _environment(config: cri.ContainerConfig, subject: str) -> list[str]:
    entries = []
    for entry in config.envs:
        try:
            entries.append(f"{entry.key}={entry.value.decode()}")
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"{subject}: the value of the environment variable {entry.key} is not UTF-8, which"
                " Docker Engine's API cannot carry"
            ) from error
    return entries
