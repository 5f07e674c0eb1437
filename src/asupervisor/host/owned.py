"""A lock file: only the process that holds it may use what it stands for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asupervisor.errors import AlreadyExists, FailedPrecondition
from asupervisor.host.descriptor import HeldDescriptor


@contextmanager
def owned(path: Path, subject: str) -> Iterator[None]:
    """Hold a lock file while the block runs. The file is not removed: of three processes that want
    it, two could then get it. The lock ends with the process, however that ends.

    Args:
        path: of the lock file; its directory is made.
        subject: what it stands for, for errors.

    Raises:
        AlreadyExists: another process holds it.
        FailedPrecondition: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = HeldDescriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise FailedPrecondition(f"{subject} cannot be used: {error}") from error
    with held:
        try:
            fcntl.flock(held.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyExists(f"another asupervisor uses {subject}", subject=subject) from error
        yield
