"""How far a container's log is written, kept so that a kill at any instruction neither loses nor
doubles a line.

A position says: the output of everything before ``source_offset`` of that source file is in the
target file, and ends at ``target_offset``. It is written after each append, so at most one append
is newer than it; what that append had written is found again by encoding the same source bytes and
comparing.

The file holds two records that are written in turn, each with a sequence number and a checksum, by
one ``pwrite`` within a page: a killed process leaves the older or the newer one whole. Nothing is
synced: after a crash of the machine (another boot id) the record is not trusted for its offsets,
and the position is found from the two logs themselves."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 128
"""How much of the source before the offset a position keeps. A json-file line ends with its time in
nanoseconds, so this tells one file from another with the same inode number.
"""

_RECORD = struct.Struct(f"<8sQ16sQQQQB{TAIL_BYTES}s")
_MAGIC = b"asvlog1\n"
_SLOT_BYTES = 512


@dataclass(frozen=True, slots=True)
class Position:
    """One state of one container's log.

    Args:
        source_inode: inode number of the engine's file.
        source_offset: bytes of it that are done, at the end of a line.
        target_inode: inode number of the CRI log file; 0 before there is one.
        target_offset: its size once those bytes were done, at the end of a line.
        tail: the last bytes of the source before the offset, at most :data:`TAIL_BYTES`.
        this_boot: whether it was written since the machine started, so that the page cache still
            agrees with it.
    """

    source_inode: int
    source_offset: int
    target_inode: int
    target_offset: int
    tail: bytes
    this_boot: bool = True


def boot_id() -> bytes:
    """The kernel's id of this boot, 16 bytes."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text()
    return bytes.fromhex(text.strip().replace("-", ""))


class PositionFile:
    """The durable position of one container. Opens its file when made.

    Args:
        path: made with mode 0600 when missing.
        boot: :func:`boot_id` of this boot.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, boot: bytes) -> None:
        self._path = path
        self._boot = boot
        self._sequence = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def load(self) -> Position | None:
        """The newest whole record; None where there is none."""
        newest: Position | None = None
        for slot in (0, 1):
            raw = os.pread(self._fd, _SLOT_BYTES, slot * _SLOT_BYTES)
            body, check = raw[: _RECORD.size], raw[_RECORD.size : _RECORD.size + 4]
            if len(check) < 4 or zlib.crc32(body) != int.from_bytes(check, "little"):
                continue
            magic, sequence, boot, inode, offset, target, end, length, tail = _RECORD.unpack(body)
            if magic != _MAGIC or sequence <= self._sequence:
                continue
            self._sequence = sequence
            newest = Position(inode, offset, target, end, tail[:length], boot == self._boot)
        return newest

    def store(self, position: Position) -> None:
        """Replace the older record.

        Raises:
            OSError: it could not be written, with the file's name; the newer record still stands.
        """
        self._sequence += 1
        body = _RECORD.pack(
            _MAGIC,
            self._sequence,
            self._boot,
            position.source_inode,
            position.source_offset,
            position.target_inode,
            position.target_offset,
            len(position.tail),
            position.tail,
        )
        record = body + zlib.crc32(body).to_bytes(4, "little")
        try:
            written = os.pwrite(self._fd, record, (self._sequence % 2) * _SLOT_BYTES)
        except OSError as error:
            error.filename = self._path
            raise
        if written != len(record):
            raise OSError(f"short write of the log position {self._path}")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
