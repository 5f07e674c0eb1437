"""What happens in a run, line by line."""

from __future__ import annotations

import hashlib
import logging

from tests.simulate.clock import Loop


class Trace(logging.Handler):
    """Lines with the time, and what the service logs, which does not count for the digest."""

    def __init__(self, loop: Loop, root: str) -> None:
        super().__init__(logging.INFO)
        self._root = root
        self._loop = loop
        self._digest = hashlib.sha256()
        self.lines: list[str] = []

    @property
    def digest(self) -> str:
        """Of what was said."""
        return self._digest.hexdigest()[:16]

    def say(self, words: str) -> int:
        """Add a line; returns how many there are."""
        line = f"{self._loop.now - 1000:10.4f} {words.replace(self._root, '')}"
        self._digest.update(line.encode() + b"\n")
        self.lines.append(line)
        return len(self.lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Add what the service logs."""
        words = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            words += f" [{record.exc_info[1]!r}]"
        self.lines.append(f"{self._loop.now - 1000:10.4f}   log {record.levelname}: {words}")
