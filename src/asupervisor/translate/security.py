"""CRI security contexts as engine settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.accounts import LARGEST_ID

ReadProfile = Callable[[str], bytes]
"""Reads a localhost seccomp profile; raises InvalidArgument or NotFound when it cannot."""

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
        FailedPrecondition: a localhost profile on a host without AppArmor, where it would be passed
            over.
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
        # To the engine these are no profiles but its default, and none at all: who may choose among
        # the profiles of the node may not therefore go without one.
        raise InvalidArgument(
            f'{subject}: AppArmor profile type Localhost with the localhost_ref "{reference}"'
            " names no profile of the node"
        )
    return f"apparmor={name}"


def seccomp_options(
    profile: cri.SecurityProfile | None,
    deprecated: str,
    privileged: bool,
    read_profile: ReadProfile,
    subject: str,
) -> list[str]:
    """``seccomp=…``: nil means unconfined, a privileged container always is, RuntimeDefault adds
    nothing.

    Args:
        profile: the ``seccomp`` field; None where it is not set.
        deprecated: ``seccomp_profile_path``, read only where ``profile`` is not set.
        privileged: whether the container is privileged, to which no profile applies (CRI).
        read_profile: reads the file of a Localhost profile.
        subject: names the container in errors.

    Raises:
        InvalidArgument: a Localhost profile without a file name, or a file that is not JSON.
        NotFound: the file is not there.
    """
    if privileged:
        return ["seccomp=unconfined"]
    if profile is None:
        if deprecated in ("runtime/default", "docker/default"):
            return []
        if deprecated.startswith("localhost/"):
            return [
                _localhost_seccomp(deprecated.removeprefix("localhost/"), read_profile, subject)
            ]
        if deprecated not in ("", "unconfined"):
            raise InvalidArgument(
                f'{subject}: seccomp profile "{deprecated}" is not one of runtime/default,'
                " unconfined, localhost/<path>"
            )
        return ["seccomp=unconfined"]
    if profile.profile_type == _PROFILE.RuntimeDefault:
        return []
    if profile.profile_type == _PROFILE.Unconfined:
        return ["seccomp=unconfined"]
    return [
        _localhost_seccomp(profile.localhost_ref.removeprefix("localhost/"), read_profile, subject)
    ]


def _seccomp(
    context: cri.LinuxSandboxSecurityContext | cri.LinuxContainerSecurityContext,
    read_profile: ReadProfile,
    subject: str,
) -> list[str]:
    profile, path = context.seccomp, context.seccomp_profile_path
    given = profile if context.HasField("seccomp") else None
    return seccomp_options(given, path, context.privileged, read_profile, subject)


def _localhost_seccomp(path: str, read_profile: ReadProfile, subject: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(
            f'{subject}: the localhost seccomp profile "{path}" must be an absolute path'
        )
    content = read_profile(path)
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
    context: cri.LinuxSandboxSecurityContext,
    read_profile: ReadProfile,
    apparmor_enabled: bool,
    subject: str,
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
        options += _seccomp(context, read_profile, subject)
    return user, {
        "SecurityOpt": options,
        "Privileged": context.privileged,
        "ReadonlyRootfs": context.readonly_rootfs,
        "GroupAdd": [str(group) for group in context.supplemental_groups],
    }


def container_security(
    context: cri.LinuxContainerSecurityContext,
    groups: Iterable[int],
    read_profile: ReadProfile,
    apparmor_enabled: bool,
    subject: str,
) -> dict[str, Any]:
    """HostConfig settings of a container.

    Args:
        context: its security context.
        groups: its supplementary groups, resolved.
        read_profile: reads localhost seccomp profiles.
        apparmor_enabled: whether the engine's host has AppArmor.
        subject: names the container in errors.
    """
    options: list[str] = []
    if not context.privileged:
        # CRI: a privileged container is confined by neither.
        options += selinux_options(context.selinux_options)
        apparmor = context.apparmor if context.HasField("apparmor") else None
        options += apparmor_options(apparmor, context.apparmor_profile, apparmor_enabled, subject)
    options += _seccomp(context, read_profile, subject)
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
