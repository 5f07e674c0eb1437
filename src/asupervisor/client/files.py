"""Files into a container and out of it, as an archive over a command's streams.

What a container sends is not trusted. Each name is checked, and the file is written beneath the
destination through directories that are held by descriptors, and never through a link. Only regular
files, folders and links that stay inside are made. Sizes and names are bounded."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import anyio.to_thread

from asupervisor.client.streams import Kept, Sink, run_with
from asupervisor.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
)
from asupervisor.host.beneath import HeldDirectory, UnsafePath

if TYPE_CHECKING:
    from asupervisor.client.containers import Container

_SAID_BYTES = 4096
_NAME_BYTES = 64 * 1024
"""Longest extended header: a long name, or further attributes of a file."""
_HOLES_DIGITS = 5
"""Most digits of the number of holes that one file has."""
_SENSELESS = (ValueError, ArithmeticError, LookupError, RuntimeError)
"""What tarfile raises at headers that make no sense, beside its own errors."""
_NOT_FOUND_CODES = (126, 127)
_NOTED = 100
"""Most names in the report of what was left out."""


async def put(container: Container, source: Path | str | bytes, target: str) -> None:
    """See :meth:`Container.put`."""
    name = posixpath.normpath(_absolute(target)).lstrip("/")
    if not name:
        raise InvalidArgument("/ cannot be replaced; name a file or a folder in it")
    with tempfile.TemporaryFile() as archive:
        try:
            await anyio.to_thread.run_sync(_pack, source, name, archive)
        except OSError as error:
            raise InvalidArgument(f"{source!r} cannot be read: {error.strerror}") from error
        said = Kept(_SAID_BYTES)
        code = await _tar(container, ["-xf", "-", "-C", "/"], archive, said.write, said.write)
    if code:
        raise FailedPrecondition(f"{target} was not written: {_told(said)}", subject=container.id)


async def get(container: Container, source: str, target: Path, limit_bytes: int) -> tuple[str, ...]:
    """See :meth:`Container.get`."""
    path = posixpath.normpath(_absolute(source)).lstrip("/") or "."
    said = Kept(_SAID_BYTES)
    with tempfile.TemporaryFile() as archive:
        spool = _Spool(archive, limit_bytes + (limit_bytes >> 2) + (1 << 20), source)
        code = await _tar(
            container, ["-cf", "-", "-C", "/", "--", path], None, spool.write, said.write
        )
        archive.seek(0)
        unpack = _Unpack(path, target, limit_bytes)
        try:
            left_out = await anyio.to_thread.run_sync(unpack.run, archive)
        except tarfile.TarError as error:
            raise FailedPrecondition(
                f"what the container sends for {source} is not an archive: {error}",
                subject=container.id,
            ) from error
        except OSError as error:
            raise FailedPrecondition(f"{target} cannot be written: {error}") from error
    if code and not unpack.found:
        raise NotFound(f"{source} was not read: {_told(said)}", subject=container.id)
    if code:
        left_out.append(f"tar in the container: {_told(said)}")
    return tuple(left_out)


async def _tar(
    container: Container,
    arguments: list[str],
    source: IO[bytes] | None,
    stdout: Sink,
    stderr: Sink,
) -> int:
    try:
        code = await run_with(container, ["tar", *arguments], source, stdout, stderr)
    except Internal as error:
        raise FailedPrecondition(
            f"{error}; copying needs the program tar in the container", subject=container.id
        ) from error
    if code in _NOT_FOUND_CODES:
        raise FailedPrecondition(
            "copying needs the program tar, and the container has none", subject=container.id
        )
    return code


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f'"{path}" is not an absolute path in the container')
    return path


def _told(said: Kept) -> str:
    """What the program in the container wrote, as one line."""
    text = " ".join(said.data.decode(errors="replace").split())
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "no reason given"


def _pack(source: Path | str | bytes, name: str, archive: IO[bytes]) -> None:
    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info if info.isreg() or info.isdir() or info.issym() or info.islnk() else None

    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        if isinstance(source, bytes):
            info = tarfile.TarInfo(name)
            info.size = len(source)
            tar.addfile(info, io.BytesIO(source))
        else:
            tar.add(source, name, filter=plain)
    archive.seek(0)


class _Spool:
    """Keeps an archive that is not larger than a limit."""

    def __init__(self, file: IO[bytes], limit_bytes: int, source: str) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self._source = source
        self._size = 0

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit_bytes:
            raise _too_large(self._source)
        self._file.write(data)


def _too_large(source: str) -> ServiceError:
    return ResourceExhausted(
        f"{source} is larger than the limit; give a higher one, or ask for less of it"
    )


class _Member(tarfile.TarInfo):
    """A header that cannot make the reader take more memory than it may, or go backwards."""

    _EXTENDED = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        is_long = found.type in cls._EXTENDED and found.size > _NAME_BYTES
        # A sparse file is followed by a list of holes, of any length; tar makes one only with -S.
        if found.size < 0 or is_long or found.type == tarfile.GNUTYPE_SPARSE:
            raise _impossible()
        return found

    def _proc_gnusparse_10(self, next: Any, pax_headers: Any, tar: Any) -> None:
        """The other form of such a list, which bsdtar makes: it begins with the number of holes."""
        start = tar.fileobj.tell()
        count = tar.fileobj.read(tarfile.BLOCKSIZE).partition(b"\n")[0]
        if not count.isdigit() or int(count[: _HOLES_DIGITS + 1]) >= 10**_HOLES_DIGITS:
            raise _impossible()
        tar.fileobj.seek(start)
        super()._proc_gnusparse_10(next, pax_headers, tar)  # type: ignore[misc]


def _impossible() -> FailedPrecondition:
    return FailedPrecondition("the archive has a header of an impossible size")


class _Unpack:
    """Writes an archive beneath a directory.

    Args:
        source: the path that was asked for, which every name must be or be beneath; ``.`` for all.
        target: its path here.
        limit_bytes: of all files together.
    """

    def __init__(self, source: str, target: Path, limit_bytes: int) -> None:
        self._source = source
        self._target = Path(os.path.abspath(target))
        self._room = limit_bytes
        self._left_out: list[str] = []
        self._count = 0
        self._links: list[tuple[str, str]] = []
        self.found = 0

    def run(self, archive: IO[bytes]) -> list[str]:
        """Write all of it, and return what was left out."""
        try:
            return self._run(archive)
        except _SENSELESS as error:
            raise tarfile.ReadError(f"its headers make no sense: {error}") from error

    def _run(self, archive: IO[bytes]) -> list[str]:
        before = -1
        with (
            HeldDirectory.at(str(self._target.parent)) as parent,
            tarfile.open(fileobj=archive, mode="r:", tarinfo=_Member) as tar,
        ):
            while (member := tar.next()) is not None:
                if member.offset <= before:
                    raise tarfile.ReadError("its headers lead backwards")
                if member.size < 0:  # by an extended header
                    raise tarfile.ReadError("a size below zero")
                before = member.offset
                self.found += 1
                try:
                    self._take(tar, member, parent)
                except UnsafePath as error:
                    self._leave(member.name, str(error))
                tar.members.clear()  # type: ignore[attr-defined]  # or all of them stay in memory
            # The links come last, so that nothing of the archive is written through one.
            for name, link in self._links:
                try:
                    _clear(parent, name)
                    parent.make_link(name, link)
                except (UnsafePath, FileNotFoundError, FileExistsError) as error:
                    self._leave(name, str(error))
        if self._count > _NOTED:
            self._left_out.append(f"and {self._count - _NOTED} more")
        return self._left_out

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, parent: HeldDirectory) -> None:
        name = self._name(member.name)
        if name is None:
            self._leave(member.name, "its name leads elsewhere")
        elif member.isdir():
            with parent.below(name, make=0o700 | (member.mode & 0o777)):
                pass
        elif member.isreg():
            content = tar.extractfile(member)
            assert content is not None, "a regular file has content"
            with content:
                self._write(parent, name, member, member.size, content)
        elif member.islnk():
            self._take_again(parent, name, member)
        elif member.issym() and _stays_inside(name, member.linkname):
            self._links.append((name, member.linkname))
        else:
            kind = "a link that leads outside" if member.issym() else "not a file or a folder"
            self._leave(member.name, kind)

    def _take_again(self, parent: HeldDirectory, name: str, member: tarfile.TarInfo) -> None:
        """A further name of a file that was written already: a copy of it."""
        first = self._name(member.linkname)
        try:
            descriptor = parent.open(first or "", os.O_RDONLY)
        except FileNotFoundError:
            self._leave(member.name, "the file that it is another name of is not there")
            return
        with os.fdopen(descriptor, "rb") as content:
            if first != name:
                size = os.fstat(descriptor).st_size
                self._write(parent, name, member, size, content)

    def _write(
        self,
        parent: HeldDirectory,
        name: str,
        member: tarfile.TarInfo,
        size: int,
        content: IO[bytes],
    ) -> None:
        self._room -= size
        if self._room < 0:
            raise _too_large(member.name)
        folder, _, _ = name.rpartition("/")
        if folder:
            parent.below(folder, make=0o755).close()
        _clear(parent, name)
        descriptor = parent.make(name, 0o600 | (member.mode & 0o777), os.O_WRONLY)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)

    def _name(self, name: str) -> str | None:
        """A member's path beneath the target's folder; None if it was not asked for."""
        plain = posixpath.normpath(name)
        if self._source == "." and plain != ".." and not plain.startswith(("../", "/")):
            below = "" if plain == "." else plain
        elif plain == self._source:
            below = ""
        elif plain.startswith(f"{self._source}/"):
            below = plain[len(self._source) + 1 :]
        else:
            return None
        return f"{self._target.name}/{below}" if below else self._target.name

    def _leave(self, name: str, why: str) -> None:
        self._count += 1
        if self._count <= _NOTED:
            self._left_out.append(f"{name!r} was left out: {why}")


def _clear(parent: HeldDirectory, name: str) -> None:
    """Remove an existing file or link, to make room for another one; a folder is refused."""
    with contextlib.suppress(FileNotFoundError):
        try:
            parent.unlink(name)
        except IsADirectoryError as error:
            raise UnsafePath(name, "a folder already") from error


def _stays_inside(name: str, link: str) -> bool:
    """Whether a link stays beneath the target: every ``..`` is at its beginning, before another
    link can be followed, and they do not lead above the target.
    """
    up = 0
    parts = [part for part in link.split("/") if part not in ("", ".")]
    while up < len(parts) and parts[up] == "..":
        up += 1
    return not link.startswith("/") and ".." not in parts[up:] and up < name.count("/")
