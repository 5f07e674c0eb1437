"""Security profiles of the node: those of seccomp on its disk, those of AppArmor in its kernel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from asupervisor.engine.endpoint import socket_path
from asupervisor.errors import FailedPrecondition, NotFound
from asupervisor.host.beneath import read_regular
from asupervisor.host.lanes import Lane
from asupervisor.proto import cri
from asupervisor.translate.security import seccomp_file

_PROFILE_BYTES = 1 << 20
_APPARMOR_PROFILES = Path("/sys/kernel/security/apparmor/profiles")


async def read_seccomp(
    lane: Lane,
    context: cri.LinuxContainerSecurityContext | cri.LinuxSandboxSecurityContext,
    subject: str,
) -> bytes:
    """The content of the Localhost seccomp profile that a security context names; empty where it
    names none. The operator allows its path, so links in it are followed.

    Args:
        lane: its file system may hang.
        context: of a container or a sandbox.
        subject: names it in errors.

    Raises:
        InvalidArgument: the path is not absolute.
        NotFound: the file is not there.
        FailedPrecondition: it cannot be read, is not a regular file or has more than 1 MiB.
        DeadlineExceeded: its file system hangs.
    """
    path = seccomp_file(context, subject)
    return await lane.run(path, _read, path) if path else b""


def _read(path: str) -> bytes:
    try:
        return read_regular(os.path.realpath(path), _PROFILE_BYTES)
    except FileNotFoundError as error:
        raise NotFound(
            f"the seccomp profile {path} does not exist on this node", subject=path
        ) from error
    except OSError as error:
        raise FailedPrecondition(
            f"the seccomp profile {path} cannot be read: {error}", subject=path
        ) from error


async def check_apparmor(
    security_options: Sequence[str],
    endpoint: str,
    subject: str,
    profiles: Path = _APPARMOR_PROFILES,
) -> None:
    """Refuse an AppArmor profile that is not loaded; runc would fail at the start, without naming
    it.

    Args:
        security_options: ``SecurityOpt`` as the engine is about to be given it.
        endpoint: the engine's address; the profiles of another machine are not known here.
        subject: names the container in errors.
        profiles: the kernel's list; where it cannot be read nothing is refused.

    Raises:
        FailedPrecondition: it names the profile.
    """
    wanted = [
        option.removeprefix("apparmor=")
        for option in security_options
        if option.startswith("apparmor=")
    ]
    if wanted in ([], ["unconfined"]) or socket_path(endpoint) is None:
        return
    try:
        # Lines ``name (mode)``; a name may have spaces of its own.
        told = await anyio.to_thread.run_sync(profiles.read_text)
        loaded = {line.rpartition(" (")[0] for line in told.splitlines()}
    except OSError:
        return
    for name in wanted:
        if name not in loaded:
            raise FailedPrecondition(
                f"{subject}: the AppArmor profile {name} is not loaded on this node", subject=name
            )
