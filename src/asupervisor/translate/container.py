"""A CRI container as an engine container."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.accounts import Identity
from asupervisor.translate.annotations import container_annotations, runtime_annotations
from asupervisor.translate.cdi import with_environment
from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.engine_facts import EngineFacts, require_api
from asupervisor.translate.images import is_image_id, without_scheme
from asupervisor.translate.labels import IMAGE_REF_LABEL, check_labels, container_labels
from asupervisor.translate.mounts import engine_mounts
from asupervisor.translate.names import SANDBOX_CONTAINER_NAME, container_name
from asupervisor.translate.namespaces import HOST, container_modes
from asupervisor.translate.resources import cgroup_parent, engine_resources
from asupervisor.translate.security import container_security
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
    subject = container_subject(config, sandbox_config.metadata)
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
    _check_environment(config.envs, subject)
    _check_devices(config.devices, subject)
    _check_log_path(config.log_path, subject)
    for mount in config.mounts:
        if mount.host_path and not mount.host_path.startswith("/"):
            raise InvalidArgument(
                f'{subject}: the host_path "{mount.host_path}" of mount {mount.container_path} must'
                " be absolute"
            )


def _check_environment(envs: Iterable[cri.KeyValue], subject: str) -> None:
    for entry in envs:
        if not entry.key or "=" in entry.key:
            raise InvalidArgument(
                f'{subject}: "{entry.key}" is not the name of an environment variable'
            )
        if b"\0" in entry.value:
            raise InvalidArgument(
                f"{subject}: the value of the environment variable {entry.key} holds a zero byte"
            )


def _check_devices(devices: Iterable[cri.Device], subject: str) -> None:
    for device in devices:
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


def _check_log_path(path: str, subject: str) -> None:
    if path.startswith("/"):
        raise InvalidArgument(
            f'{subject}: log_path "{path}" must be relative to the sandbox\'s log_directory'
        )
    if path and posixpath.normpath(path) == ".":
        raise InvalidArgument(f'{subject}: log_path "{path}" names no file')
    if ".." in path.split("/"):
        raise InvalidArgument(
            f'{subject}: log_path "{path}" leads out of the sandbox\'s log_directory'
        )
    if posixpath.normpath(path).count("/") > 1:
        raise InvalidArgument(
            f'{subject}: log_path "{path}" has more than a directory and a file, so that'
            " it could not be kept from leading out of the sandbox's log_directory by a link"
        )


def container_subject(config: cri.ContainerConfig, pod: cri.PodSandboxMetadata) -> str:
    """What errors and logs call a container: ``container name of pod namespace/name``."""
    return f"container {config.metadata.name} of pod {pod.namespace}/{pod.name}"


def log_path(config: cri.ContainerConfig, sandbox_config: cri.PodSandboxConfig) -> str:
    """The CRI log file: log_directory and log_path joined; empty where either is missing."""
    if not config.log_path or not sandbox_config.log_directory:
        return ""
    path = posixpath.normpath(f"{sandbox_config.log_directory}/{config.log_path}")
    return f"/{path.lstrip('/')}"


def engine_container_name(config: cri.ContainerConfig, pod: cri.PodSandboxMetadata) -> str:
    """The engine container's name.

    Raises:
        InvalidArgument: it could not be read back, or is a sandbox's.
    """
    if config.metadata.name == SANDBOX_CONTAINER_NAME:
        raise InvalidArgument(
            f'{container_subject(config, pod)}: the name "{SANDBOX_CONTAINER_NAME}" is'
            " that of the sandbox itself"
        )
    return container_name(
        config.metadata.name, pod.name, pod.namespace, pod.uid, config.metadata.attempt
    )


@dataclass(frozen=True, slots=True)
class OfSandbox:
    """What a container takes from its sandbox.

    Args:
        sandbox_id: the full id.
        pod: whose it is.
        runtime: the OCI runtime.
        on_host_network: whether it is.
        host_users: whether it has the host's users although the engine maps users.
        log_config: how much the engine keeps of a log; None for the engine's default.
    """

    sandbox_id: str
    pod: cri.PodSandboxMetadata
    runtime: str
    on_host_network: bool
    host_users: bool
    log_config: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the names in a request stand for on this node.

    Args:
        image_id: of the image; a tag may move meanwhile.
        image_ref: what the status calls the image.
        mounts: with host paths resolved and checked, and images named by their ids.
        target_id: full id of the container whose pid namespace is joined (TARGET); empty for none.
        identity: the user and groups that it runs as.
        cgroup: what is written to its cgroup files once it runs.
        environment: what its CDI devices bring.
    """

    image_id: str
    image_ref: str
    mounts: list[cri.Mount]
    target_id: str
    identity: Identity
    cgroup: CgroupSettings
    environment: list[str]


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """What is made of a request for a container.

    Args:
        subject: names it in errors.
        name: the engine container's.
        body: of ``POST /containers/create``.
        log_path: of its CRI log; empty for none.
    """

    subject: str
    name: str
    body: dict[str, Any]
    log_path: str


def plan_container(  # long: one field after the other
    request: cri.CreateContainerRequest,
    sandbox: OfSandbox,
    found: Resolved,
    facts: EngineFacts,
    profile: bytes,
) -> ContainerPlan:
    """Plan a container of a sandbox.

    Args:
        request: checked by :func:`check_container_config`; it is not changed.
        sandbox: what it takes from its sandbox.
        found: what the request's names stand for.
        facts: of the engine.
        profile: the content of its Localhost seccomp profile.

    Raises:
        ServiceError: a setting that cannot be applied.
    """
    config, pod = request.config, request.sandbox_config
    subject = container_subject(config, sandbox.pod)
    context = config.linux.security_context
    apparmor = "apparmor" in facts.security
    security = container_security(context, found.identity.groups, profile, apparmor, subject)
    if not config.linux.HasField("security_context") and not context.privileged:
        # Not set is not the same as an empty list: the engine's default paths are masked.
        del security["MaskedPaths"], security["ReadonlyPaths"]
    relabels = "selinux" in facts.security
    mounts, binds = engine_mounts(found.mounts, facts.api_version, relabels, subject)
    path = log_path(config, pod)
    labels = container_labels(
        config.labels,
        config.annotations,
        sandbox.sandbox_id,
        path,
        _user_image(config.image),
        found.cgroup.label() if found.cgroup else "",
    )
    labels[IMAGE_REF_LABEL] = found.image_ref
    body: dict[str, Any] = {
        "Image": found.image_id,
        "Entrypoint": list(config.command) or None,
        "Cmd": list(config.args) or None,
        "Env": _environment(config, found.environment, subject),
        "WorkingDir": config.working_dir,
        "User": found.identity.user,
        "Labels": labels,
        "OpenStdin": config.stdin,
        "StdinOnce": config.stdin_once,
        "Tty": config.tty,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **container_modes(
                context.namespace_options,
                sandbox.sandbox_id,
                sandbox.on_host_network,
                found.target_id,
                subject,
            ),
            **security,
            **engine_resources(config.linux.resources, facts.oom_floor, subject),
            "CgroupParent": cgroup_parent(pod.linux.cgroup_parent, facts.cgroup_driver),
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
            "Runtime": sandbox.runtime,
            **runtime_annotations(
                facts,
                sandbox.runtime,
                container_annotations(config.metadata.name, sandbox.sandbox_id, sandbox.pod),
                pod.annotations,
                config.annotations,
            ),
        },
    }
    if sandbox.host_users:
        body["HostConfig"]["UsernsMode"] = HOST
    if sandbox.log_config is not None:
        body["HostConfig"]["LogConfig"] = sandbox.log_config
    if config.CDI_devices:
        require_api(f"{subject}: CDI devices", CDI_SINCE, "28.3", facts.api_version)
        body["HostConfig"]["DeviceRequests"] = [
            {"Driver": "cdi", "DeviceIDs": [device.name for device in config.CDI_devices]}
        ]
    if config.stop_signal != cri.SIGNAL_RUNTIME_DEFAULT:
        body["StopSignal"] = engine_signal(config.stop_signal)
    return ContainerPlan(subject, engine_container_name(config, sandbox.pod), body, path)


def _user_image(image: cri.ImageSpec) -> str:
    """The image as the pod's manifest has it; empty where only an id is known."""
    if image.user_specified_image or is_image_id(image.image):
        return image.user_specified_image
    return without_scheme(image.image)


def _environment(config: cri.ContainerConfig, of_devices: list[str], subject: str) -> list[str]:
    entries = []
    for entry in config.envs:
        try:
            entries.append(f"{entry.key}={entry.value.decode()}")
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"{subject}: the value of the environment variable {entry.key} is not UTF-8, which"
                " Docker Engine's API cannot carry"
            ) from error
    return with_environment(entries, of_devices) if of_devices else entries
