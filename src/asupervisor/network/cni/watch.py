"""Notice changes in directories: by inotify where the kernel grants it, by looking again from time
to time in any case.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import struct
from collections.abc import Iterator, Sequence

import anyio

log = logging.getLogger(__name__)

_IN_CLOEXEC, _IN_NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
_IN_CLOSE_WRITE, _IN_MOVED, _IN_CREATE, _IN_DELETE, _IN_ATTRIB = 0x8, 0xC0, 0x100, 0x200, 0x4
_IN_DELETE_SELF, _IN_MOVE_SELF, _IN_IGNORED, _IN_ONLYDIR = 0x400, 0x800, 0x8000, 0x1000000
_MASK = (
    _IN_CLOSE_WRITE
    | _IN_MOVED
    | _IN_CREATE
    | _IN_DELETE
    | _IN_ATTRIB
    | _IN_DELETE_SELF
    | _IN_MOVE_SELF
)
_EVENT = struct.Struct("iIII")


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
        self._descriptor = -1
        self._watched: dict[int, str] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[DirectoryWatch]:
        """Hold the inotify instance; without one, only polling is left."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
        if self._descriptor < 0:
            log.warning(
                "no inotify (%s); looking at %s every %g s instead",
                os.strerror(ctypes.get_errno()),
                ", ".join(self._directories),
                self._poll_interval_s,
            )
        try:
            yield self
        finally:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1
            self._watched = {}

    async def changed(self) -> None:
        """Return when something may have changed, at the latest after the poll interval."""
        self._add_missing()
        with anyio.move_on_after(self._poll_interval_s):
            if self._descriptor < 0:
                await anyio.sleep_forever()
            await anyio.wait_readable(self._descriptor)
            self._drain()

    def _add_missing(self) -> None:
        if self._descriptor < 0:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        present = set(self._watched.values())
        for directory in self._directories:
            if directory not in present:
                number = libc.inotify_add_watch(
                    self._descriptor, os.fsencode(directory), _MASK | _IN_ONLYDIR
                )
                if number >= 0:
                    self._watched[number] = directory

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return
            position = 0
            while position < len(data):
                number, mask, _cookie, length = _EVENT.unpack_from(data, position)
                position += _EVENT.size + length
                if mask & _IN_MOVE_SELF:
                    ctypes.CDLL(None).inotify_rm_watch(self._descriptor, number)
                if mask & (_IN_IGNORED | _IN_MOVE_SELF):
                    self._watched.pop(number, None)
