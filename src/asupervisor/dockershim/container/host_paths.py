"""What a container asks for of the host: the sources of its mounts, and its devices.

All of these may wait for a file system that hangs, so they run in the lane of host paths."""

from __future__ import annotations

import os
import stat

from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound
from asupervisor.host.beneath import HeldDirectory

_MODE = 0o755


def mount_source(host_path: str, subject: str) -> tuple[str, bool]:
    """The source of a mount as the engine is to be given it: symbolic links followed (CRI), which
    the engine does not do.

    Returns:
        The path, and whether it exists. If not, the part that exists is resolved; the rest is as
        given.

    Raises:
        NotFound: a link in the path leads nowhere.
    """
    there = host_path.rstrip("/") or "/"
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    resolved = os.path.realpath(there)
    if not os.path.lexists(resolved):
        raise NotFound(
            f"{subject}: the host path {host_path} leads nowhere: the link {there} points to"
            f" {resolved}, which does not exist",
            subject=host_path,
        )
    rest = os.path.relpath(host_path.rstrip("/") or "/", there)
    if rest == ".":
        return resolved, True
    return os.path.join(resolved, rest), False


def make_mount_source(path: str, subject: str) -> None:
    """Make the directory that a mount wants and the host does not have, as the peers do
    (cri-dockerd, containerd, CRI-O): pods of network plugins count on it.

    Args:
        path: as :func:`mount_source` gave it.
        subject: names the container in errors.

    Raises:
        FailedPrecondition: it cannot be made there.
    """
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if there == path:
        return  # made meanwhile
    try:
        with HeldDirectory.at(there) as held:
            held.below(os.path.relpath(path, there), make=_MODE).close()
    except OSError as error:
        raise FailedPrecondition(
            f"{subject}: the host path {path} does not exist and cannot be made: {error}",
            subject=path,
        ) from error


def check_device(path: str, subject: str) -> None:
    """Refuse a device that the host does not have.

    Raises:
        NotFound: there is nothing at the path.
        InvalidArgument: what is there is not a device or a directory.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise NotFound(
            f"{subject}: the device {path} does not exist on this node", subject=path
        ) from error
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)):
        raise InvalidArgument(
            f"{subject}: {path} is neither a device nor a directory of devices", subject=path
        )
