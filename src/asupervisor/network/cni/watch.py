"""Notice changes in directories: by inotify where the kernel grants it, by looking again from time
to time in any case.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import anyio

from asupervisor.host import inotify
from asupervisor.host.inotify import Inotify

log = logging.getLogger(__name__)

_MASK = (
    inotify.CLOSE_WRITE
    | inotify.MOVED
    | inotify.CREATE
    | inotify.DELETE
    | inotify.ATTRIB
    | inotify.DELETE_SELF
    | inotify.MOVE_SELF
    | inotify.ONLYDIR
)


class DirectoryWatch:
    """Waits for a change below directories, which need not exist yet.

    Args:
        directories: what to watch.
        poll_interval_s: seconds after which to look again although nothing was reported: for
            directories that do not exist yet, file systems without inotify, and kernels that are
            out of watches.
    """

    def __init__(self, directories: Sequence[str], poll_interval_s: float) -> None:
        self._directories = tuple(directories)
        self._poll_interval_s = poll_interval_s
        self._inotify: Inotify | None = None
        self._watched: dict[int, str] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[DirectoryWatch]:
        """Hold the inotify instance; without one, only polling is left."""
        try:
            self._inotify = Inotify()
        except OSError as error:
            log.warning(
                "no inotify (%s); looking at %s every %g s instead",
                error.strerror,
                ", ".join(self._directories),
                self._poll_interval_s,
            )
        try:
            yield self
        finally:
            if self._inotify is not None:
                self._inotify.close()
            self._inotify = None
            self._watched = {}

    async def changed(self) -> None:
        """Return when something may have changed, at the latest after the poll interval."""
        with anyio.move_on_after(self._poll_interval_s):
            if self._inotify is None:
                await anyio.sleep_forever()
            else:
                self._add_missing(self._inotify)
                await anyio.wait_readable(self._inotify.fd)
                self._drain(self._inotify)

    def _add_missing(self, held: Inotify) -> None:
        for directory in set(self._directories).difference(self._watched.values()):
            number = held.add(directory, _MASK)
            if number is not None:
                self._watched[number] = directory

    def _drain(self, held: Inotify) -> None:
        for number, mask in held.read():
            if mask & inotify.MOVE_SELF:
                held.remove(number)
            if mask & (inotify.IGNORED | inotify.MOVE_SELF):
                self._watched.pop(number, None)
