"""A file that is either as it was or as it is to be, whatever happens in between.

The law: the content is written beside the place, to its last byte, put on the disk (fsync), given
its name by a rename, and the name is put on the disk (fsync of the directory). A write that was
cut (a full disk, a limit) is an error, and leaves what was there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from asupervisor.host.descriptor import HeldDescriptor


def write_file(path: Path, content: bytes, *, mode: int = 0o600, aside: Path | None = None) -> None:
    """Write a file in a directory of ours. Two at once for one path must not be.

    Args:
        path: the file; its directory must be there.
        content: all of it.
        mode: of the file, whatever the umask.
        aside: where it is written first, on the same file system; ``.<name>`` beside it by default.

    Raises:
        OSError: the file system refuses, with the file's name; the file is as it was, or, where
            only its directory could not be synced, as it is to be.
    """
    try:
        _write_file(path, content, mode, aside)
    except OSError as error:
        # What a descriptor refuses, as on a full disk, names no file by itself.
        if error.filename is None:
            error.filename = str(path)
        raise


def _write_file(path: Path, content: bytes, mode: int, aside: Path | None) -> None:
    aside = aside or path.with_name(f".{path.name}")
    # What an earlier process left of a write that was cut off.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = HeldDescriptor(os.open(aside, flags, mode))
    try:
        with file:
            os.fchmod(file.descriptor, mode)
            write_all(file.descriptor, content)
            os.fsync(file.descriptor)
        os.rename(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise
    sync_directory(path.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write to the last byte: the kernel may take less at a time.

    Raises:
        OSError: it takes no more.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Put on the disk which names are in a directory."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with HeldDescriptor(os.open(directory, flags)) as held:
        os.fsync(held.descriptor)
