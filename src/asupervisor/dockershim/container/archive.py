"""The archive of a checkpoint: a tar file with what CRIU wrote, what the container was made of, and
what it changed of its image.

``checkpoint/`` CRIU's images, as the engine had them written. ``config.dump``, ``spec.dump`` Who
the container is, and the configuration that the OCI runtime was given for it. ``rootfs-diff.tar``
Its writable layer, as a layer of an OCI image: a removed file is there as ``.wh.<name>``.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
import shutil
import stat
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asupervisor.errors import FailedPrecondition
from asupervisor.host.beneath import HeldDirectory, PendingDirectories, UnsafePath, read_regular
from asupervisor.host.processes import ContainerProcess
from asupervisor.node.records import ContainerRecord
from asupervisor.stats.layers import upper_directory

IMAGES = "images"
"""Name of the directory, in a workplace, that the engine writes CRIU's images to."""
_PART = "part"
_SPEC_BYTES = 16 << 20
_LAYER = "rootfs-diff.tar"
_OVERLAY_XATTR = "trusted.overlay."
_FREE_SHARE = 10
"""This part of a disk, one tenth, stays free: a sparse file takes its whole length in an
archive.
"""
_LINKED_BYTES, _KEPT_BYTES = 64 << 20, 256
"""Of names of files that have several, which are kept until the end, for the others to refer to,
and what is kept with each.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """What an archive is made of besides CRIU's images.

    Args:
        record: of the container.
        spec: the OCI runtime's configuration of it.
        upper: its writable layer on the host.
    """

    record: ContainerRecord
    spec: bytes
    upper: Path


def find_source(record: ContainerRecord) -> Source:
    """Look everything up before anything is made.

    Raises:
        FailedPrecondition: something of it cannot be found here.
    """
    subject = f"container {record.id[:12]}"
    try:
        with ContainerProcess(record.pid, record.id) as process:
            # The shim of a container, the parent of its first process, works in its bundle.
            spec = read_regular(f"/proc/{process.parent()}/cwd/config.json", _SPEC_BYTES)
            upper = record.upper_dir or upper_directory(process.engine_mounts(), record.id)
    except ProcessLookupError as error:
        raise FailedPrecondition(
            f"{subject}: it ended before a checkpoint could be written"
        ) from error
    except (OSError, ValueError, IndexError) as error:
        raise FailedPrecondition(
            f"{subject}: its runtime configuration cannot be read for a checkpoint: {error}"
        ) from error
    if not upper or not os.path.isdir(upper):
        raise FailedPrecondition(
            f"{subject}: its writable layer cannot be found for a checkpoint; it is not"
            " a directory of an overlay"
        )
    return Source(record, spec, Path(upper))


def check_location(location: str, subject: str) -> None:
    """Whether an archive can be put there.

    Raises:
        FailedPrecondition: it cannot.
    """
    if not os.path.isdir(os.path.dirname(location)):
        raise FailedPrecondition(
            f"{subject}: the directory of the checkpoint's location {location} does not exist"
        )
    if os.path.isdir(location):
        raise FailedPrecondition(f"{subject}: the checkpoint's location {location} is a directory")


def make_workplace(root: Path) -> Path:
    """A directory for one checkpoint.

    Raises:
        FailedPrecondition: the disk refuses it.
    """
    # The engine takes only an absolute path.
    workplace = root.absolute() / "checkpoint" / secrets.token_hex(8)
    try:
        workplace.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise FailedPrecondition(
            f"the directory {workplace} for a checkpoint cannot be made: {error}"
        ) from error
    return workplace


def clear_workplace(workplace: Path) -> None:
    """Remove it, and the unfinished archive that it has the name of; what cannot be removed now,
    :func:`clear_workplaces` removes later.
    """
    with contextlib.suppress(OSError):
        os.unlink((workplace / _PART).read_text())
    shutil.rmtree(workplace, ignore_errors=True)


def clear_workplaces(root: Path) -> None:
    """Remove what an earlier process left of checkpoints that it did not finish."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(root / "checkpoint"):
            clear_workplace(Path(entry.path))


def write_archive(workplace: Path, source: Source, location: str) -> Path:
    """Write the archive beside its place; :func:`publish` puts it there.

    Returns:
        The file, readable by its owner alone, and on disk.

    Raises:
        FailedPrecondition: the disk refuses it, or something cannot be read.
    """
    part = Path(os.path.dirname(location), f".{os.path.basename(location)}.{secrets.token_hex(4)}")
    try:
        # Noted first: if this process is killed, the next one finds the unfinished archive.
        (workplace / _PART).write_text(str(part))
        with open(workplace / _LAYER, "wb") as file:
            _write_layer(file, source.upper)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                _add_bytes(
                    archive, "config.dump", json.dumps(_config(source.record), indent=1).encode()
                )
                _add_bytes(archive, "spec.dump", source.spec)
                _require_room(file, os.path.getsize(workplace / _LAYER), _LAYER)
                archive.add(workplace / _LAYER, _LAYER)
                archive.add(workplace / IMAGES, "checkpoint")
            file.flush()
            os.fsync(file.fileno())
    except (OSError, tarfile.TarError) as error:
        raise FailedPrecondition(
            f"container {source.record.id[:12]}: the checkpoint {location} cannot be written:"
            f" {error}"
        ) from error
    return part


def publish(part: Path, location: str) -> None:
    """Put an archive into its place.

    Raises:
        FailedPrecondition: the disk refuses it.
    """
    try:
        os.rename(part, location)
    except OSError as error:
        raise FailedPrecondition(
            f"the checkpoint {location} cannot be put into its place: {error}"
        ) from error


def _config(record: ContainerRecord) -> dict[str, Any]:
    status = record.status
    return {
        "id": record.id,
        "name": status.metadata.name,
        "rootfsImage": status.image_id,
        "rootfsImageRef": status.image_id,
        "rootfsImageName": status.image.user_specified_image or status.image.image,
        "runtime": record.runtime,
        "createdTime": _time(status.created_at),
        "checkpointedTime": _time(time.time_ns()),
    }


def _time(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(content))


def _require_room(file: Any, size: int, name: str) -> None:
    """Whether so many bytes go to the disk of a file without filling it.

    Raises:
        OSError: they do not.
    """
    disk = os.fstatvfs(file.fileno())
    free = (disk.f_bavail - disk.f_blocks // _FREE_SHARE) * disk.f_frsize
    if size > free:
        raise OSError(errno.ENOSPC, f"{name} has {size} bytes, and {max(free, 0)} may be taken")


def _write_layer(file: Any, upper: Path) -> None:
    layer: Any  # the types do not know all of its attributes
    linked = 0
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for name, facts, directory, entry in _walk(upper):
            layer.members.clear()  # it would keep an entry for each of a million files
            parent, _, base = name.rpartition("/")
            if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
                _add_bytes(layer, f"{parent}/.wh.{base}" if parent else f".wh.{base}", b"")
                continue
            path = f"/proc/self/fd/{directory}/{entry}"
            try:
                member = layer.gettarinfo(path, name)
            except FileNotFoundError:
                continue
            if facts.st_nlink == 1:
                layer.inodes.pop((facts.st_ino, facts.st_dev), None)  # it has no other name
            elif stat.S_ISREG(facts.st_mode):
                linked += len(name) + _KEPT_BYTES
                if linked > _LINKED_BYTES:
                    raise OSError(errno.E2BIG, "too many of its files have several names")
            if member is None:  # a socket
                continue
            attributes = _attributes(path)
            member.pax_headers = {
                f"SCHILY.xattr.{key}": value
                for key, value in attributes.items()
                if not key.startswith(_OVERLAY_XATTR)
            }
            if not member.isreg():
                layer.addfile(member)
                if member.isdir() and attributes.get(f"{_OVERLAY_XATTR}opaque") == "y":
                    _add_bytes(layer, f"{name}/.wh..wh..opq", b"")
                continue
            # The container runs on: its changes to a file must neither lead out of the layer nor
            # break the archive.
            try:
                with HeldDirectory(name, os.dup(directory)) as held:
                    descriptor = held.open(entry, os.O_RDONLY)
            except (FileNotFoundError, UnsafePath):
                continue
            with open(descriptor, "rb") as content:
                member.size = os.fstat(descriptor).st_size
                _require_room(file, member.size, name)
                layer.addfile(member, _Exactly(content, member.size))


class _Exactly(io.RawIOBase):
    """A file that has exactly the length that was announced, cut or filled with zeros."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        data: bytes = self._file.read(size)
        data += bytes(size - len(data))
        self._left -= size
        return data


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result, int, str]]:
    """Everything below a directory, a directory before what is in it, by descriptors, so that no
    link is followed: name, facts, descriptor of its directory, entry.

    Raises:
        OSError: directories are nested too deeply, or too many are still to be walked.
    """
    with HeldDirectory.at(str(root)) as top:
        pending = PendingDirectories()
        while pending:
            directory = pending.pop()
            with contextlib.suppress(FileNotFoundError, UnsafePath):
                for descriptor, entry, facts in top.entries(directory):
                    name = f"{directory}/{entry}" if directory else entry
                    yield name, facts, descriptor, entry
                    if stat.S_ISDIR(facts.st_mode) and not pending.add(name):
                        raise OSError(
                            errno.ENAMETOOLONG,
                            f"its directories are nested too deeply, or too many: {name[:64]}…",
                        )


def _attributes(path: str) -> dict[str, str]:
    """Extended attributes, as a tar header has them."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {
            name: os.getxattr(path, name, follow_symlinks=False).decode(errors="surrogateescape")
            for name in names
        }
    except OSError:
        return {}
