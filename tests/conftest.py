"""The tests run in a network and mount namespace of their own, so that engines, bridges and rules
of theirs meet nobody else's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.harness.engine import ENGINE, Engine, busybox_archive
from tests.harness.namespace import leave_the_network

# How long an example takes is the machine's business, not the tests'.
hypothesis_settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the conformance suite finds its runtime."""
    parser.addoption(
        "--cri-endpoint",
        default="",
        help="unix:// address of the CRI server to test; an own service where not given",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine's network before anything starts a thread; children inherit it.

    A runtime that was started elsewhere would not see the tests' registry in a network of their
    own."""
    if ENGINE:
        os.environ["PATH"] = f"{os.path.dirname(ENGINE)}:{os.environ['PATH']}"
    if (
        os.geteuid() != 0
        or config.getoption("--cri-endpoint")
        or os.environ.get("ASUPERVISOR_TEST_NAMESPACE") == "host"
    ):
        return
    leave_the_network()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are coroutines run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker Engine with a busybox image, shared by the session's tests."""
    running = Engine()
    running.start()
    running.load(busybox_archive())
    yield running
    running.destroy()
