"""The node's key, by which this service recognises its own labels: ``<root>/provenance/key``."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path

from asupervisor.errors import FailedPrecondition
from asupervisor.host.atomic import write_file
from asupervisor.translate.provenance import KEY_BYTES

_logger = logging.getLogger(__name__)


def load_key(root: Path) -> bytes:
    """The key, made where there is none yet.

    One that is damaged, or that others could have read, proves nothing: it is replaced, and what
    was made under it counts as made by a peer.

    Args:
        root: the service's root directory.

    Raises:
        FailedPrecondition: it cannot be read or made.
    """
    path = root / "provenance" / "key"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(path.parent, 0o700)
        key, flaw = _read(path)
        if flaw:
            _logger.warning(
                "the node's key %s %s; a new one is made, and earlier containers count as another"
                " shim's",
                path,
                flaw,
            )
        return key or _make(path)
    except OSError as error:
        raise FailedPrecondition(
            f"the node's key {path} cannot be read or made: {error}; repair or remove it:"
            " containers from before then count as another shim's",
            subject=str(path),
        ) from error


def _read(path: Path) -> tuple[bytes, str]:
    """The key, or none and what is wrong with it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b"", ""
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        key = file.read(KEY_BYTES + 1)
    if not stat.S_ISREG(status.st_mode):
        return b"", "is not a regular file"
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        return b"", "may be read or written by others"
    if len(key) != KEY_BYTES:
        return b"", f"does not have {KEY_BYTES} bytes"
    return key, ""


def _make(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    write_file(path, key)
    return key
