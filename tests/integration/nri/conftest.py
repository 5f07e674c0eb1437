"""Each test gets short-lived directories of its own, and fails when it leaves something behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.engine import Engine
from tests.harness.leaks import nothing_left


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="asv-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _nothing_left(engine: Engine) -> Iterator[None]:
    with nothing_left(engine):
        yield
