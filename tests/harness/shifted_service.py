"""The service in a process whose clock can be set while it runs: ``python -m
tests.harness.shifted_service ARGUMENTS``.

The file that ``ASUPERVISOR_CLOCK`` names has the seconds by which its clock is wrong. What Python
reads of the clock is; what a library in C reads, and the engine's clock, are right."""

from __future__ import annotations

import os
import time
from pathlib import Path

_offset = Path(os.environ["ASUPERVISOR_CLOCK"])
_time, _time_ns = time.time, time.time_ns


def _shift_s() -> int:
    return int(_offset.read_text() or 0)


def _shifted() -> float:
    return _time() + _shift_s()


def _shifted_ns() -> int:
    return _time_ns() + _shift_s() * 1_000_000_000


if __name__ == "__main__":
    # Before anything takes them by name.
    time.time, time.time_ns = _shifted, _shifted_ns
    from asupervisor.__main__ import main

    main()
