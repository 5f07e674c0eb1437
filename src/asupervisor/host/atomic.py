"""Writes files whole: after a crash a file has either its old content or its new one.

The content is written to another file beside it, to its last byte, and put on the disk (fsync).
Then that file is renamed, and the name is put on the disk (fsync of the directory). A write that
was cut short (a full disk, a limit) is an error, and the old file stays."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from asupervisor.host.descriptor import HeldDescriptor


def write_file(path: Path, content: bytes, *, mode: int = 0o600, aside: Path | None = None) -> None:
    """Write a file in a directory of ours. The caller must not write one path twice at a time.

    Args:
        path: the file; its directory must be there.
        content: all of it.
        mode: of the file, whatever the umask.
        aside: where it is written first, on the same file system; ``.<name>`` beside it by default.

    Raises:
        OSError: the file system refuses; the error has the file's name. The file has its old
            content, or, if only its directory could not be synced, the new one.
    """
    try:
        _write_file(path, content, mode, aside)
    except OSError as error:
        # An error of a descriptor, as on a full disk, has no file name.
        if error.filename is None:
            error.filename = str(path)
        raise


def _write_file(path: Path, content: bytes, mode: int, aside: Path | None) -> None:
    aside = aside or path.with_name(f".{path.name}")
    # An earlier process may have left it, if it ended in the middle of a write.
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
    """Write all of it: one call of the kernel may take only a part.

    Raises:
        OSError: the kernel refuses.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on the disk."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with HeldDescriptor(os.open(directory, flags)) as held:
        os.fsync(held.descriptor)
