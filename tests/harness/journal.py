"""A systemd journal of the tests' own, for the engine's ``journald`` log driver."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.engine import eventually

JOURNALD = Path("/lib/systemd/systemd-journald")
_RUN, _LOG = Path("/run/systemd"), Path("/run/log")
_SETTINGS = (
    "[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\nRateLimitIntervalSec=0\nReadKMsg=no\n"
    "Audit=no\nForwardToSyslog=no\n"
)


@contextmanager
def journal() -> Iterator[None]:
    """Run ``systemd-journald`` in this process' mount namespace, which must be one of its own,
    hiding the machine's.

    Raises:
        AssertionError: it does not come up.
    """
    mounted = []
    process = None
    try:
        for path in (_RUN, _LOG):
            path.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "journal", str(path)], check=True)
            mounted.append(path)
        (_RUN / "journal").mkdir()
        (_RUN / "journald.conf.d").mkdir()
        (_RUN / "journald.conf.d" / "tests.conf").write_text(_SETTINGS)
        process = subprocess.Popen(
            [str(JOURNALD)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually((_RUN / "journal" / "socket").exists, "the journal's socket")
        yield
    finally:
        if process is not None:
            process.terminate()
            process.wait(20)
        for path in reversed(mounted):
            subprocess.run(["umount", "-l", str(path)], check=True)
