"""Writes a json-file log as the engine does: the same bytes for a line, the same steps for a
rotation.
"""

from __future__ import annotations

import contextlib
import gzip
import os
from pathlib import Path

_ESCAPES = {0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r"}
_ESCAPES |= {
    code: b"\\u%04x" % code for code in (*range(0x20), 0x3C, 0x3E, 0x26) if code not in _ESCAPES
}
_BASE_NS = 1_790_000_000_000_000_000


def engine_time(number: int) -> str:
    """The ``number``-th nanosecond of the test's time, with the trailing zeros left out as Go
    does.
    """
    fraction = f"{(_BASE_NS + number) % 1_000_000_000:09d}".rstrip("0")
    seconds = (_BASE_NS + number) // 1_000_000_000 - 1_790_000_000
    clock = f"2026-09-21T{13 + seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{clock}.{fraction}Z" if fraction else f"{clock}Z"


def engine_line(
    content: bytes, time: str, stream: str = "stdout", attributes: bytes = b""
) -> bytes:
    """One message as the engine's json-file has it: what is not UTF-8 becomes U+FFFD, its markup
    characters are escaped.
    """
    text = content.decode("utf-8", "replace").encode()
    if text.isascii():
        escaped = b"".join(_ESCAPES.get(code) or bytes((code,)) for code in text)
    else:
        valid = content.decode("utf-8", "replace")
        escaped = b"".join(_escape_character(character) for character in valid)
    extra = b',"attrs":' + attributes if attributes else b""
    return b'{"log":"%s","stream":"%s"%s,"time":"%s"}\n' % (
        escaped,
        stream.encode(),
        extra,
        time.encode(),
    )


def _escape_character(character: str) -> bytes:
    if ord(character) in (0x2028, 0x2029, 0xFFFD):
        return b"\\u%04x" % ord(character)
    return _ESCAPES.get(ord(character)) or character.encode()


class EngineLog:
    """One container's json-file.

    Args:
        path: its name.
        max_size: bytes after which it is rotated; 0 for never.
        max_file: how many files there are at most.
        compress: whether rotated ones are gzipped.
    """

    def __init__(
        self, path: Path, max_size: int = 0, max_file: int = 1, *, compress: bool = False
    ) -> None:
        self.path = path
        self.max_size = max_size
        self.max_file = max_file
        self.compress = compress
        self.lines = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, content: bytes, stream: str = "stdout") -> None:
        """One message, its newline included where it ends a line."""
        self.write_raw(engine_line(content, engine_time(self.lines * 1009), stream))
        self.lines += 1

    def write_raw(self, line: bytes) -> None:
        """Bytes as they are, after a rotation where one is due."""
        if self.max_size and os.fstat(self._file.fileno()).st_size >= self.max_size:
            self.rotate()
        self._file.write(line)

    def rotate(self) -> None:
        """Rename or drop the file, open the next one."""
        self._file.close()
        extension = ".gz" if self.compress else ""
        if self.max_file < 2:
            self.path.unlink()
        else:
            self._name(self.max_file - 1, extension).unlink(missing_ok=True)
            for index in range(self.max_file - 1, 1, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._name(index - 1, extension).rename(self._name(index, extension))
            self.path.rename(self._name(1))
        self._file = self.path.open("wb", buffering=0)
        if self.compress and self.max_file > 1:
            self._name(1, ".gz").write_bytes(gzip.compress(self._name(1).read_bytes(), 1))
            self._name(1).unlink()

    def _name(self, index: int, extension: str = "") -> Path:
        return self.path.with_name(f"{self.path.name}.{index}{extension}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
