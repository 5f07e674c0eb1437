"""CRI security contexts as engine settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri

ReadProfile = Callable[[str], bytes]
"""Reads a localhost seccomp profile; raises InvalidArgument or NotFound when it cannot."""

_PROFILE = cri.SecurityProfile


def user_of(run_as_user: cri.Int64Value | None, run_as_username: str, run_as_group: cri.Int64Value | None, subject: str) -> str:
    """The engine's ``User``: ``uid``, ``name``, ``uid:gid`` or ``name:gid``; empty takes the image's.

    Raises:
        InvalidArgument: a group without a user (CRI: run_as_group needs run_as_user or run_as_username).
    """
    user = run_as_username or (str(run_as_user.value) if run_as_user is not None else "")
    if run_as_group is not None:
        if not user:
            raise InvalidArgument(f"{subject}: run_as_group is given without run_as_user or run_as_username")
        return f"{user}:{run_as_group.value}"
    return user


def selinux_options(options: cri.SELinuxOption) -> list[str]:
    """``label=user:…`` and so on, for those that are set."""
    return [
        f"label={key}:{value}"
        for key, value in (("user", options.user), ("role", options.role), ("type", options.type), ("level", options.level))
        if value
    ]


def apparmor_options(profile: cri.SecurityProfile | None, deprecated: str, subject: str) -> list[str]:
    """``apparmor=…`` from the new field, else the deprecated one; the runtime's default adds nothing."""
    if profile is not None:
        if profile.profile_type == _PROFILE.Unconfined:
            return ["apparmor=unconfined"]
        if profile.profile_type == _PROFILE.Localhost:
            if not profile.localhost_ref:
                raise InvalidArgument(f"{subject}: AppArmor profile type Localhost needs a localhost_ref")
            return ["apparmor=" + profile.localhost_ref.removeprefix("localhost/")]
        return []
    if not deprecated or deprecated == "runtime/default":
        return []
    if deprecated == "unconfined":
        return ["apparmor=unconfined"]
    if not deprecated.startswith("localhost/"):
        raise InvalidArgument(f'{subject}: AppArmor profile "{deprecated}" is none of runtime/default, unconfined, localhost/<name>')
    return ["apparmor=" + deprecated.removeprefix("localhost/")]


def seccomp_options(
    profile: cri.SecurityProfile | None, deprecated: str, privileged: bool, read_profile: ReadProfile, subject: str
) -> list[str]:
    """``seccomp=…``: nil means unconfined, a privileged container always is, RuntimeDefault adds nothing.

    Args:
        profile: the ``seccomp`` field; None where it is not set.
        deprecated: ``seccomp_profile_path``, read only where ``profile`` is not set.
        privileged: whether the container is privileged, to which no profile applies (CRI).
        read_profile: reads the file of a Localhost profile.
        subject: names the container in errors.

    Raises:
        InvalidArgument: a Localhost profile without a file name, or a file that is no JSON.
        NotFound: the file is not there.
    """
    if privileged:
        return ["seccomp=unconfined"]
    if profile is None:
        if deprecated in ("runtime/default", "docker/default"):
            return []
        if deprecated.startswith("localhost/"):
            return [_localhost_seccomp(deprecated.removeprefix("localhost/"), read_profile, subject)]
        if deprecated not in ("", "unconfined"):
            raise InvalidArgument(f'{subject}: seccomp profile "{deprecated}" is none of runtime/default, unconfined, localhost/<path>')
        return ["seccomp=unconfined"]
    if profile.profile_type == _PROFILE.RuntimeDefault:
        return []
    if profile.profile_type == _PROFILE.Unconfined:
        return ["seccomp=unconfined"]
    return [_localhost_seccomp(profile.localhost_ref.removeprefix("localhost/"), read_profile, subject)]


def _localhost_seccomp(path: str, read_profile: ReadProfile, subject: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f'{subject}: the localhost seccomp profile "{path}" must be an absolute path')
    content = read_profile(path)
    try:
        return "seccomp=" + json.dumps(json.loads(content), separators=(",", ":"))
    except ValueError as error:
        raise InvalidArgument(f"{subject}: the seccomp profile {path} is no valid JSON: {error}") from error


def sandbox_security(context: cri.LinuxSandboxSecurityContext, read_profile: ReadProfile, subject: str) -> tuple[str, dict[str, Any]]:
    """User and HostConfig settings of a sandbox."""
    user = user_of(
        context.run_as_user if context.HasField("run_as_user") else None,
        "",
        context.run_as_group if context.HasField("run_as_group") else None,
        subject,
    )
    options = ["no-new-privileges", *selinux_options(context.selinux_options)]
    options += apparmor_options(context.apparmor if context.HasField("apparmor") else None, "", subject)
    if context.HasField("seccomp") or context.seccomp_profile_path:
        options += seccomp_options(
            context.seccomp if context.HasField("seccomp") else None,
            context.seccomp_profile_path,
            context.privileged,
            read_profile,
            subject,
        )
    return user, {
        "SecurityOpt": options,
        "Privileged": context.privileged,
        "ReadonlyRootfs": context.readonly_rootfs,
        "GroupAdd": [str(group) for group in context.supplemental_groups],
    }


def container_security(context: cri.LinuxContainerSecurityContext, read_profile: ReadProfile, subject: str) -> tuple[str, dict[str, Any]]:
    """User and HostConfig settings of a container."""
    user = user_of(
        context.run_as_user if context.HasField("run_as_user") else None,
        context.run_as_username,
        context.run_as_group if context.HasField("run_as_group") else None,
        subject,
    )
    options = selinux_options(context.selinux_options)
    options += apparmor_options(context.apparmor if context.HasField("apparmor") else None, context.apparmor_profile, subject)
    options += seccomp_options(
        context.seccomp if context.HasField("seccomp") else None,
        context.seccomp_profile_path,
        context.privileged,
        read_profile,
        subject,
    )
    if context.no_new_privs:
        options.append("no-new-privileges")
    if context.capabilities.add_ambient_capabilities:
        raise InvalidArgument(f"{subject}: Docker Engine cannot set ambient capabilities")
    settings: dict[str, Any] = {
        "SecurityOpt": options,
        "Privileged": context.privileged,
        "ReadonlyRootfs": context.readonly_rootfs,
        "GroupAdd": [str(group) for group in context.supplemental_groups],
        "CapAdd": list(context.capabilities.add_capabilities),
        "CapDrop": list(context.capabilities.drop_capabilities),
    }
    if not context.privileged:
        settings["MaskedPaths"] = list(context.masked_paths)
        settings["ReadonlyPaths"] = list(context.readonly_paths)
    return user, settings
