"""Wakes for files that grow: inotify through libc, one shot for each directory, so that a flood
costs no events.
"""

from __future__ import annotations

import ctypes
import os
import struct

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_IN_ONLYDIR, _IN_ONESHOT = 0x01000000, 0x80000000
_IN_IGNORED, _IN_Q_OVERFLOW = 0x8000, 0x4000
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = struct.Struct("iIII")


class DirectoryWatch:
    """Tells once for each armed directory that something in it was written, made or renamed.

    Raises:
        OSError: the kernel gives no inotify instance (``fs.inotify.max_user_instances``); then
            poll.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.inotify_init1(_FLAGS)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._directories: dict[int, str] = {}

    def arm(self, directory: str) -> bool:
        """Tell of the next change in ``directory``, whatever was armed for it before; False where
        the kernel refuses.
        """
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_ONLYDIR | _IN_ONESHOT
        number = self._libc.inotify_add_watch(
            self.fd, os.fsencode(directory), ctypes.c_uint32(mask)
        )
        if number < 0:
            return False
        self._directories[number] = directory
        return True

    def changed(self) -> set[str]:
        """The armed directories in which something changed since; each is to be armed again."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return set()
        found: set[str] = set()
        offset = 0
        while offset < len(data):
            number, mask, _cookie, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            if mask & _IN_Q_OVERFLOW:
                found.update(self._directories.values())
            elif mask & _IN_IGNORED:
                self._directories.pop(number, None)
            elif number in self._directories:
                found.add(self._directories[number])
        return found

    def close(self) -> None:
        """Let go of the instance."""
        os.close(self.fd)
