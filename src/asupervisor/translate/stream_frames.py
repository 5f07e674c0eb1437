"""The engine's multiplexed streams, without I/O: what an exec, an attachment or a log without a
terminal sends.

A frame is 8 bytes of head (the stream's number, three zeros, the payload's length, big-endian) and
its payload (Engine API, "Stream format"). A container decides how its output is cut into frames,
for example one frame for each byte. So the work is linear in the bytes that come in, whatever the
frames, and is done in steps, between which other tasks run."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

STDIN, STDOUT, STDERR = 0, 1, 2
FRAMES_PER_STEP = 256
"""Frames that one step parses: some tenths of a millisecond of work."""

_HEAD = Struct(">BxxxL")

Piece = tuple[int, bytes, bool]
"""Number of the stream, some or all of a frame's payload, whether the frame ends with it."""


class StreamFrames:
    """Cuts a byte stream, which comes in any pieces, into pieces of payload.

    What comes in is passed on and not collected: only what was fed and not yet taken is kept, and
    the head of a frame that is not whole.
    """

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._head = b""
        self._number = STDOUT
        self._left = 0

    @property
    def pending(self) -> bool:
        """Whether :meth:`take` has something to do before more comes in."""
        return self._at < len(self._data)

    def feed(self, data: bytes) -> None:
        """Add bytes; once :attr:`pending` is false it copies nothing."""
        self._data = self._data[self._at :] + data if self.pending else data
        self._at = 0

    def take(self, limit: int = FRAMES_PER_STEP) -> list[Piece]:
        """Take a step: at most ``limit`` heads and as many pieces, in order. A frame without
        payload gives an empty piece.
        """
        found: list[Piece] = []
        data, at, end = self._data, self._at, len(self._data)
        for _ in range(limit):
            if at >= end:
                break
            if not self._left:
                if not self._head and end - at >= _HEAD.size:
                    self._number, self._left = _HEAD.unpack_from(data, at)
                    at += _HEAD.size
                else:
                    need = _HEAD.size - len(self._head)
                    self._head += data[at : at + need]
                    at = min(at + need, end)
                    if len(self._head) < _HEAD.size:
                        break
                    self._number, self._left = _HEAD.unpack(self._head)
                    self._head = b""
                if not self._left:
                    found.append((self._number, b"", True))
                    continue
                if at >= end:
                    break
            stop = min(at + self._left, end)
            self._left -= stop - at
            found.append((self._number, data[at:stop], not self._left))
            at = stop
        self._at = at
        if at >= end:
            self._data, self._at = b"", 0
        return found


def runs(pieces: Iterable[Piece]) -> list[tuple[int, bytes]]:
    """Join pieces that follow each other on the same stream; empty ones are left out."""
    found: list[tuple[int, bytes]] = []
    waiting: list[bytes] = []
    number = STDOUT
    for stream, data, _ in pieces:
        if not data:
            continue
        if stream != number and waiting:
            found.append((number, b"".join(waiting)))
            waiting = []
        number = stream
        waiting.append(data)
    if waiting:
        found.append((number, b"".join(waiting)))
    return found
