"""inotify(7): the kernel tells what changes in directories. It is called through libc: the
maintained libraries for it start threads, or read one event at a time.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

MODIFY, ATTRIB, CLOSE_WRITE, MOVED_TO, MOVED = 0x2, 0x4, 0x8, 0x80, 0xC0
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
OVERFLOW, IGNORED, ONLYDIR, ONESHOT = 0x4000, 0x8000, 0x1000000, 0x80000000

_EVENT = struct.Struct("iIII")
_CHUNK_BYTES = 65536


class Inotify:
    """One inotify instance; the caller closes it.

    Attributes:
        fd: readable when :meth:`read` has something.

    Raises:
        OSError: the kernel gives no further one (``fs.inotify.max_user_instances``).
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def add(self, path: str, mask: int) -> int | None:
        """Watch a path. Returns the number of its watch; None where the kernel refuses: the path is
        missing, or ``fs.inotify.max_user_watches`` is reached.
        """
        number: int = self._libc.inotify_add_watch(
            self.fd, os.fsencode(path), ctypes.c_uint32(mask)
        )
        return number if number >= 0 else None

    def remove(self, number: int) -> None:
        """Stop watching; an event ``IGNORED`` follows."""
        self._libc.inotify_rm_watch(self.fd, number)

    def read(self) -> Iterator[tuple[int, int]]:
        """All events, as watch number and mask; the number of ``OVERFLOW`` is -1."""
        while True:
            try:
                data = os.read(self.fd, _CHUNK_BYTES)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                number, mask, _cookie, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size + length
                yield number, mask

    def close(self) -> None:
        """Close the instance."""
        os.close(self.fd)
