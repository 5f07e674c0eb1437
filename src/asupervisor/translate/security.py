"""CRI security contexts as engine settings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.accounts import LARGEST_ID

_PROFILE = cri.SecurityProfile


def sandbox_user(context: cri.LinuxSandboxSecurityContext, subject: str) -> str:
    """The engine's ``User`` of a sandbox: ``uid`` or ``uid:gid``; empty takes the image's.

    Raises:
        InvalidArgument: a group without a user (CRI: run_as_group needs run_as_user), or a number
            that is not an id.
    """
    by_group = context.HasField("run_as_group")
    if by_group and not context.HasField("run_as_user"):
        raise InvalidArgument(f"{subject}: run_as_group is given without run_as_user")
    for number in (
        context.run_as_user.value,
        context.run_as_group.value,
        *context.supplemental_groups,
    ):
        if not 0 <= number <= LARGEST_ID:
            raise InvalidArgument(
                f"{subject}: the user or group id {number} is not between 0 and {LARGEST_ID}, as"
                " Docker Engine wants it"
            )
    user = str(context.run_as_user.value) if context.HasField("run_as_user") else ""
    return f"{user}:{context.run_as_group.value}" if by_group else user


def selinux_options(options: cri.SELinuxOption) -> list[str]:
    """``label=user:…`` and so on, for those that are set."""
    return [
        f"label={key}:{value}"
        for key, value in (
            ("user", options.user),
            ("role", options.role),
            ("type", options.type),
            ("level", options.level),
        )
        if value
    ]


def apparmor_options(
    profile: cri.SecurityProfile | None, deprecated: str, enabled: bool, subject: str
) -> list[str]:
    """``apparmor=…`` from the new field, else the deprecated one; the runtime's default adds
    nothing.

    Raises:
        InvalidArgument: a profile that cannot be read.
        FailedPrecondition: a localhost profile on a host without AppArmor, where it would be
            ignored.
    """
    options = _apparmor(profile, deprecated, subject)
    if not enabled:
        if options and options[0] != "apparmor=unconfined":
            raise FailedPrecondition(
                f"{subject}: AppArmor profile {options[0].removeprefix('apparmor=')}: this host has"
                " no AppArmor"
            )
        return []
    return options


def _apparmor(profile: cri.SecurityProfile | None, deprecated: str, subject: str) -> list[str]:
    if profile is not None:
        if profile.profile_type == _PROFILE.Unconfined:
            return ["apparmor=unconfined"]
        if profile.profile_type == _PROFILE.Localhost:
            return [_localhost_apparmor(profile.localhost_ref, subject)]
        return []
    if not deprecated or deprecated == "runtime/default":
        return []
    if deprecated == "unconfined":
        return ["apparmor=unconfined"]
    if not deprecated.startswith("localhost/"):
        raise InvalidArgument(
            f'{subject}: AppArmor profile "{deprecated}" is not one of runtime/default, unconfined,'
            " localhost/<name>"
        )
    return [_localhost_apparmor(deprecated, subject)]


def _localhost_apparmor(reference: str, subject: str) -> str:
    name = reference.removeprefix("localhost/")
    if name in ("", "unconfined"):
        # For the engine these mean its default profile and no profile: a user who may choose among
        # the profiles of the node must not be able to run without one.
        raise InvalidArgument(
            f'{subject}: AppArmor profile type Localhost with the localhost_ref "{reference}"'
            " names no profile of the node"
        )
    return f"apparmor={name}"


def seccomp_file(
    context: cri.LinuxContainerSecurityContext | cri.LinuxSandboxSecurityContext, subject: str
) -> str:
    """The path of the Localhost profile that a security context names; empty where it names none.

    Raises:
        InvalidArgument: the path is not absolute.
    """
    if context.privileged:
        return ""  # CRI: no profile applies to it
    if context.HasField("seccomp"):
        # A type that this version does not know must not leave a container unconfined.
        named = context.seccomp.profile_type not in (_PROFILE.RuntimeDefault, _PROFILE.Unconfined)
        path = context.seccomp.localhost_ref.removeprefix("localhost/")
    else:
        named = context.seccomp_profile_path.startswith("localhost/")
        path = context.seccomp_profile_path.removeprefix("localhost/")
    if named and not path.startswith("/"):
        raise InvalidArgument(
            f'{subject}: the localhost seccomp profile "{path}" must be an absolute path'
        )
    return path if named else ""


def _seccomp_options(
    context: cri.LinuxContainerSecurityContext | cri.LinuxSandboxSecurityContext,
    profile: bytes,
    subject: str,
) -> list[str]:
    """``seccomp=…``: nil means unconfined, a privileged container always is, RuntimeDefault adds
    nothing.
    """
    path = seccomp_file(context, subject)
    if path:
        return [_localhost_seccomp(path, profile, subject)]
    if context.privileged:
        return ["seccomp=unconfined"]
    if context.HasField("seccomp"):
        is_default = context.seccomp.profile_type == _PROFILE.RuntimeDefault
        return [] if is_default else ["seccomp=unconfined"]
    deprecated = context.seccomp_profile_path
    if deprecated in ("runtime/default", "docker/default"):
        return []
    if deprecated not in ("", "unconfined"):
        raise InvalidArgument(
            f'{subject}: seccomp profile "{deprecated}" is not one of runtime/default,'
            " unconfined, localhost/<path>"
        )
    return ["seccomp=unconfined"]


def _localhost_seccomp(path: str, content: bytes, subject: str) -> str:
    try:
        profile = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"{subject}: the seccomp profile {path} is not valid JSON: {error}"
        ) from error
    if not isinstance(profile, dict):
        # "null" would even leave the container unconfined.
        raise InvalidArgument(f"{subject}: the seccomp profile {path} is not a JSON object")
    return "seccomp=" + json.dumps(profile, separators=(",", ":"))


def sandbox_security(
    context: cri.LinuxSandboxSecurityContext, profile: bytes, apparmor_enabled: bool, subject: str
) -> tuple[str, dict[str, Any]]:
    """User and HostConfig settings of a sandbox.

    Its image has no groups of its own, so both supplemental groups policies come to the same.
    """
    user = sandbox_user(context, subject)
    options = ["no-new-privileges"]
    if not context.privileged:
        options += selinux_options(context.selinux_options)
        apparmor = context.apparmor if context.HasField("apparmor") else None
        options += apparmor_options(apparmor, "", apparmor_enabled, subject)
    if context.HasField("seccomp") or context.seccomp_profile_path:
        options += _seccomp_options(context, profile, subject)
    return user, {
        "SecurityOpt": options,
        "Privileged": context.privileged,
        "ReadonlyRootfs": context.readonly_rootfs,
        "GroupAdd": [str(group) for group in context.supplemental_groups],
    }


def container_security(
    context: cri.LinuxContainerSecurityContext,
    groups: Iterable[int],
    profile: bytes,
    apparmor_enabled: bool,
    subject: str,
) -> dict[str, Any]:
    """HostConfig settings of a container.

    Args:
        context: its security context.
        groups: its supplementary groups, resolved.
        profile: the content of :func:`seccomp_file`.
        apparmor_enabled: whether the engine's host has AppArmor.
        subject: names the container in errors.
    """
    options: list[str] = []
    if not context.privileged:
        # CRI: neither confines a privileged container.
        options += selinux_options(context.selinux_options)
        apparmor = context.apparmor if context.HasField("apparmor") else None
        options += apparmor_options(apparmor, context.apparmor_profile, apparmor_enabled, subject)
    options += _seccomp_options(context, profile, subject)
    if context.no_new_privs:
        options.append("no-new-privileges")
    if context.capabilities.add_ambient_capabilities:
        raise InvalidArgument(
            f"{subject}: add_ambient_capabilities is not supported: Docker Engine cannot set"
            " ambient capabilities"
        )
    settings: dict[str, Any] = {
        "SecurityOpt": options,
        "Privileged": context.privileged,
        "ReadonlyRootfs": context.readonly_rootfs,
        "GroupAdd": [str(group) for group in groups],
        "CapAdd": list(context.capabilities.add_capabilities),
        "CapDrop": list(context.capabilities.drop_capabilities),
    }
    if not context.privileged:
        settings["MaskedPaths"] = list(context.masked_paths)
        settings["ReadonlyPaths"] = list(context.readonly_paths)
    return settings
