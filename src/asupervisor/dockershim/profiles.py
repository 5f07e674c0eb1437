"""Seccomp profiles on the node's disk."""

from __future__ import annotations

from pathlib import Path

from asupervisor.errors import FailedPrecondition, NotFound


def read_profile(path: str) -> bytes:
    """A localhost profile's content.

    Raises:
        NotFound: the file is not there.
        FailedPrecondition: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"the seccomp profile {path} does not exist on this node", subject=path) from error
    except OSError as error:
        raise FailedPrecondition(f"the seccomp profile {path} cannot be read: {error}", subject=path) from error
