"""Opens paths that others can write to, beneath a directory that is held by a descriptor.

From the held directory on, each component is opened by itself and never through a link, so that
others who write there cannot lead us out. Only a regular file is opened for reading or writing. A
FIFO, a socket, a device, a directory or a link is an error that names it; it is recognised by a
descriptor that does not open it (``O_PATH``). An existing file is never emptied, and a file that we
make did not exist before (``O_EXCL``).

Links above the held directory are followed: they are the operator's."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import count, islice

from asupervisor.host.descriptor import HeldDescriptor

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLLOW = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_STRING_BYTES = 64
_PATH_BYTES = 4096
_PENDING_BYTES = 16 << 20
_MOST_STEPS = 256
_AT_ONCE = 1024


class UnsafePath(OSError):
    """A path that is refused for what is there; the text names both."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(errno.ELOOP, found, path)

    def __str__(self) -> str:
        return f"{self.filename} is {self.strerror}"


def components(path: str) -> list[str]:
    """The components of a path beneath a directory.

    Args:
        path: relative; one component or several.

    Raises:
        UnsafePath: it is absolute or empty, or a component is not a name (``..``, ``.``, a NUL).
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UnsafePath(path, "not a plain path beneath a directory")
    return parts


class HeldDirectory(HeldDescriptor):
    """A directory, held by a descriptor, and what is opened beneath it. A context manager.

    Every method raises OSError if the kernel refuses, and :class:`UnsafePath` if something else is
    there than what is asked for.

    Args:
        path: of the directory, for errors.
        descriptor: of it; owned from now on.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        super().__init__(descriptor)
        self.path = path

    @classmethod
    def at(cls, path: str, *, make: int | None = None) -> HeldDirectory:
        """Hold a directory whose path is trusted: links in it are followed.

        Args:
            path: absolute.
            make: the mode of the directories that are made where they are missing; None makes none.
        """
        if make is not None:
            os.makedirs(path, mode=make, exist_ok=True)
        return cls(path, os.open(path, _FOLLOW))

    def below(self, path: str, *, make: int | None = None) -> HeldDirectory:
        """Hold a directory beneath this one.

        Args:
            path: relative, of one component or several.
            make: the mode of the directories that are made where they are missing; None makes none.
        """
        held = HeldDirectory(self.path, os.dup(self.descriptor))
        try:
            for name in components(path):
                held._step(name, make)
        except BaseException:
            held.close()
            raise
        return held

    def _step(self, name: str, make: int | None) -> None:
        """Hold the directory of that name instead."""
        path = f"{self.path.rstrip('/')}/{name}"
        if make is not None:
            with suppress(FileExistsError):
                os.mkdir(name, make, dir_fd=self.descriptor)
        descriptor = os.open(name, _LOOK, dir_fd=self.descriptor)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISDIR(mode):
            os.close(descriptor)
            raise UnsafePath(path, f"{_kind(mode)}, not a directory")
        os.close(self.descriptor)
        self.path, self.descriptor = path, descriptor

    def open(self, path: str, access: int) -> int:
        """Open a regular file that is there.

        Args:
            path: relative.
            access: such as ``os.O_RDONLY`` or ``os.O_RDWR | os.O_APPEND``; nothing that makes or
                empties a file.

        Returns:
            A descriptor. It never waits for another process (``O_NONBLOCK``).
        """
        assert not access & (os.O_CREAT | os.O_TRUNC), (
            "an existing file is neither made nor emptied"
        )
        with self._parent(path) as (held, name):
            looked = os.open(name, _LOOK, dir_fd=held.descriptor)
            with HeldDescriptor(looked):
                mode = os.fstat(looked).st_mode
                if not stat.S_ISREG(mode):
                    raise UnsafePath(
                        f"{held.path.rstrip('/')}/{name}", f"{_kind(mode)}, not a regular file"
                    )
                # Opens the file that was looked at, even if its name is another file's by now.
                return os.open(
                    f"/proc/self/fd/{looked}", access | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
                )

    def make(self, path: str, mode: int, access: int = os.O_RDWR | os.O_APPEND) -> int:
        """Make a file that is not there (FileExistsError otherwise).

        Args:
            path: relative; its directory must be there.
            mode: of the file, whatever the umask.
            access: what the descriptor is for.

        Returns:
            A descriptor of it.
        """
        with self._parent(path) as (held, name):
            flags = access | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, mode, dir_fd=held.descriptor)
            os.fchmod(descriptor, mode)
            return descriptor

    def read(self, path: str, limit: int) -> bytes:
        """The content of a regular file.

        Args:
            path: relative.
            limit: bytes; a longer file is an :class:`UnsafePath`.
        """
        with HeldDescriptor(self.open(path, os.O_RDONLY)) as file:
            return read_all(file.descriptor, limit, f"{self.path.rstrip('/')}/{path}")

    def status(self, path: str) -> os.stat_result | None:
        """The status of what is there, links not followed; None for nothing."""
        try:
            with self._parent(path) as (held, name):
                return os.stat(name, dir_fd=held.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def link_target(self, path: str) -> str:
        """The target of a symbolic link, as it is written there."""
        with self._parent(path) as (held, name):
            return os.readlink(name, dir_fd=held.descriptor)

    def make_link(self, path: str, target: str) -> None:
        """Make a symbolic link where nothing is."""
        with self._parent(path) as (held, name):
            os.symlink(target, name, dir_fd=held.descriptor)

    def unlink(self, path: str) -> None:
        """Remove a name that is not a directory's."""
        with self._parent(path) as (held, name):
            os.unlink(name, dir_fd=held.descriptor)

    def names(self, limit: int) -> list[str]:
        """The names in this directory.

        Args:
            limit: how many at most; if there are more, the kernel decides which.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with (
            HeldDescriptor(os.open(".", flags, dir_fd=self.descriptor)) as held,
            os.scandir(held.descriptor) as entries,
        ):
            return [entry.name for entry in islice(entries, limit)]

    def entries(self, path: str) -> Iterator[tuple[int, str, os.stat_result]]:
        """Each entry of this directory or of one beneath it: a descriptor of the directory, the
        entry's name, and its status, links not followed. One that vanishes is left out.

        Args:
            path: relative; empty for this one.
        """
        with self.below(path) if path else nullcontext(self) as held:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            opened = HeldDescriptor(os.open(".", flags, dir_fd=held.descriptor))
        with opened, os.scandir(opened.descriptor) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield opened.descriptor, entry.name, entry.stat(follow_symlinks=False)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[HeldDirectory, str]]:
        """The directory that holds a path's last component, and that component."""
        *directories, name = components(path)
        if not directories:
            yield self, name
            return
        with self.below("/".join(directories)) as held:
            yield held, name


class PendingDirectories:
    """The directories that a walk beneath a held one still has to visit, the held one first.
    However many there are, it takes at most 16 MiB of memory.
    """

    def __init__(self) -> None:
        self._paths = [""]
        self._size = _STRING_BYTES

    def __bool__(self) -> bool:
        return bool(self._paths)

    def pop(self) -> str:
        """The next one, for :meth:`HeldDirectory.entries`."""
        path = self._paths.pop()
        self._size -= len(path) + _STRING_BYTES
        return path

    def add(self, path: str) -> bool:
        """Remember one, by its path from the held one; False if its path is too long, or there are
        too many.
        """
        size = len(path) + _STRING_BYTES
        if len(path) > _PATH_BYTES or self._size + size > _PENDING_BYTES:
            return False
        self._paths.append(path)
        self._size += size
        return True


def remove_tree(path: str) -> None:
    """Remove a directory with everything in it, also where it is deeper than calls can be nested
    or paths be long: each directory in it is brought up to be emptied.

    Args:
        path: absolute; nothing may be mounted in it.

    Raises:
        OSError: it is not there or is not a directory, or something in it cannot be removed.
    """
    parent, _, last = path.rpartition("/")
    with HeldDirectory.at(parent or "/") as above, above.below(last) as top:
        made = (f".{secrets.token_hex(8)}.{number}" for number in count())
        while names := top.names(_AT_ONCE):
            for name in names:
                if not stat.S_ISDIR(os.lstat(name, dir_fd=top.descriptor).st_mode):
                    top.unlink(name)
                    continue
                for held, entry, facts in top.entries(name):
                    if stat.S_ISDIR(facts.st_mode):
                        os.rename(entry, next(made), src_dir_fd=held, dst_dir_fd=top.descriptor)
                    else:
                        os.unlink(entry, dir_fd=held)
                try:
                    os.rmdir(name, dir_fd=top.descriptor)
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:
                        raise
                    # The kernel told of a part of it while it changed: it is taken up once more.
        os.rmdir(last, dir_fd=above.descriptor)


def look_within(root: str, path: str) -> os.stat_result:
    """What a path is to a process that has a directory as its root: links are followed within it,
    and nothing leads out of it.

    Args:
        root: the directory, such as ``/proc/<pid>/root``.
        path: absolute.

    Raises:
        OSError: it is not there, or more than 256 steps away.
    """
    with ExitStack() as held:
        trail = [held.enter_context(HeldDirectory.at(root)).descriptor]
        names = path.split("/")[::-1]
        for _ in range(_MOST_STEPS):
            if not names:
                return os.fstat(trail[-1])
            name = names.pop()
            if name in ("", "."):
                continue
            if name == "..":
                trail = trail[:-1] or trail
                continue
            found = held.enter_context(HeldDescriptor(os.open(name, _LOOK, dir_fd=trail[-1])))
            if not stat.S_ISLNK(os.fstat(found.descriptor).st_mode):
                trail.append(found.descriptor)
                continue
            # As it says: also one of the kernel's own, which would lead anywhere by itself.
            target = os.readlink("", dir_fd=found.descriptor)
            trail = trail[:1] if target.startswith("/") else trail
            names += target.split("/")[::-1]
    raise UnsafePath(path, f"more than {_MOST_STEPS} steps away")


def read_regular(path: str, limit: int) -> bytes:
    """The content of a regular file whose directory is trusted; the file itself must not be a link.

    Args:
        path: absolute.
        limit: bytes; a longer file is refused.

    Raises:
        OSError: it cannot be read; :class:`UnsafePath` for what is not a regular file or too long.
    """
    directory, _, name = path.rpartition("/")
    with HeldDirectory.at(directory or "/") as held:
        return held.read(name, limit)


def read_followed(path: str, limit: int) -> bytes:
    """The content of a regular file that belongs to the operator: links to it are followed.

    Args:
        path: absolute.
        limit: bytes; a longer file is refused.

    Raises:
        OSError: it cannot be read; :class:`UnsafePath` for what is not a regular file or too long.
            It never waits for another process.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with HeldDescriptor(descriptor):
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise UnsafePath(path, f"{_kind(mode)}, not a regular file")
        return read_all(descriptor, limit, path)


def read_all(descriptor: int, limit: int, path: str) -> bytes:
    """The rest of a file, from where the descriptor is.

    Args:
        descriptor: of it.
        limit: bytes.
        path: for the error.

    Raises:
        UnsafePath: it is longer.
    """
    content = bytearray()
    while chunk := os.read(descriptor, min(1 << 20, limit + 1 - len(content))):
        content += chunk
        if len(content) > limit:
            raise UnsafePath(path, f"longer than {limit} bytes")
    return bytes(content)


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a regular file" if stat.S_ISREG(mode) else "unknown")
