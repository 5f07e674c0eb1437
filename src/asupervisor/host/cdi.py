"""The files of the Container Device Interface: specifications in JSON or YAML, which drivers of
devices write."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from typing import Any

import orjson

from asupervisor.host.beneath import read_all
from asupervisor.host.descriptor import HeldDescriptor

_logger = logging.getLogger(__name__)
_FILE_BYTES = 4 << 20
_FILES = 1000
_Stamp = tuple[int, int, int, int]
_NOT_OPENED: _Stamp = (0, 0, 0, 0)


class CdiFiles:
    """What is in the directories of the Container Device Interface; a file that has not changed is
    not parsed again.
    """

    def __init__(self) -> None:
        self._parsed: dict[str, tuple[_Stamp, Any]] = {}

    def read(self, directories: Sequence[str]) -> list[list[Any]]:
        """The documents in each directory; called in a thread. A file that cannot be read is None
        and logged once; a missing directory is empty.
        """
        before, self._parsed = self._parsed, {}
        return [
            [self._document(path, before) for path in _files(directory)]
            for directory in directories
        ]

    def _document(self, path: str, before: dict[str, tuple[_Stamp, Any]]) -> Any:
        known, stamp = before.get(path), _NOT_OPENED
        try:
            # O_NONBLOCK: a FIFO would wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with HeldDescriptor(descriptor):
                status = os.fstat(descriptor)
                stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                if known is None or known[0] != stamp:
                    if not stat.S_ISREG(status.st_mode):
                        raise ValueError("not a regular file")
                    known = stamp, _parse(path, read_all(descriptor, _FILE_BYTES, path))
        except (OSError, ValueError, RecursionError) as error:
            if known is None or known[0] != stamp:
                _logger.warning("the CDI specification %s cannot be read: %s", path, error)
                known = stamp, None
        self._parsed[path] = known
        return known[1]


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    wanted = [name for name in names if name.endswith((".json", ".yaml"))]
    return [os.path.join(directory, name) for name in wanted[:_FILES]]


def _parse(path: str, content: bytes) -> Any:
    if path.endswith(".json"):
        return orjson.loads(content)
    import yaml  # slow to import, and only needed here

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(content, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
