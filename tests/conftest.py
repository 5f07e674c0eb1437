"""The tests run in a network and mount namespace of their own, so that engines, bridges and rules of theirs meet nobody else's."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.harness.engine import Engine, busybox_archive

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine's network before anything starts a thread; children inherit it."""
    if os.geteuid() != 0 or os.environ.get("ASUPERVISOR_TEST_NAMESPACE") == "host":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
        raise pytest.UsageError(f"cannot make a network namespace for the tests: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker Engine with a busybox image, shared by the session's tests."""
    running = Engine()
    running.start()
    running.load(busybox_archive())
    yield running
    running.destroy()
