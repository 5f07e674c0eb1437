"""Engines that tests may freeze and kill; nothing may be left behind here either."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.harness.engine import Engine, busybox_archive
from tests.harness.leaks import nothing_left
from tests.harness.loops import UVLOOP


@pytest.fixture(scope="module")
def own_engine() -> Iterator[Engine]:
    """An engine that a module's tests may do anything to, as long as it runs at the end of each."""
    running = Engine()
    running.start()
    running.load(busybox_archive())
    yield running
    running.destroy()


@pytest.fixture
def mortal_engine(own_engine: Engine) -> Iterator[Engine]:
    """The same, brought back to life after a test that left it frozen or dead."""
    assert own_engine.process is not None
    yield own_engine
    if own_engine.process.poll() is None:
        own_engine.signal(signal.SIGCONT)
    else:
        own_engine.start()
    own_engine.remove_all()


@pytest.fixture(scope="package")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the service runs on."""
    return UVLOOP


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    engine = request.getfixturevalue("engine") if "engine" in request.fixturenames else None
    with nothing_left(engine):
        yield
