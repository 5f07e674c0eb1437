"""A file system that does not answer, as that of a dead file server."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MNT_DETACH = 2


@contextmanager
def dead_mount(where: Path) -> Iterator[Path]:
    """Mount a FUSE file system whose server never reads a request; what waits for it fails when the
    block ends.

    Args:
        where: the mount point, made here where it is not there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    where.mkdir(parents=True, exist_ok=True)
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no FUSE here")
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", bytes(where), b"fuse", 0, options):
        os.close(server)
        pytest.skip(f"a FUSE file system cannot be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        yield where
    finally:
        libc.umount2(bytes(where), _MNT_DETACH)
        os.close(server)
