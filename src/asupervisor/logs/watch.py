"""Watches directories for files that grow: one event for each directory that was armed."""

from __future__ import annotations

from asupervisor.host import inotify
from asupervisor.host.inotify import Inotify

_MASK = inotify.MODIFY | inotify.MOVED_TO | inotify.CREATE | inotify.ONLYDIR | inotify.ONESHOT


class DirectoryWatch:
    """Tells once for each armed directory that something in it was written, made or renamed.

    Attributes:
        fd: readable when :meth:`changed` has something.

    Raises:
        OSError: the kernel gives no inotify instance; then poll.
    """

    def __init__(self) -> None:
        self._inotify = Inotify()
        self.fd = self._inotify.fd
        self._directories: dict[int, str] = {}

    def arm(self, directory: str) -> bool:
        """Report the next change in ``directory``, also if it was armed before; False where the
        kernel refuses.
        """
        number = self._inotify.add(directory, _MASK)
        if number is None:
            return False
        self._directories[number] = directory
        return True

    def changed(self) -> set[str]:
        """The armed directories in which something changed since; each is to be armed again."""
        found: set[str] = set()
        for number, mask in self._inotify.read():
            if mask & inotify.OVERFLOW:
                found.update(self._directories.values())
            elif mask & inotify.IGNORED:
                self._directories.pop(number, None)
            elif number in self._directories:
                found.add(self._directories[number])
        return found

    def close(self) -> None:
        """Let go of the instance."""
        self._inotify.close()
