"""Each test fails when it leaves something behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.engine import Engine
from tests.harness.leaks import nothing_left
from tests.harness.loops import UVLOOP


@pytest.fixture(scope="package")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the service runs on."""
    return UVLOOP


@pytest.fixture(autouse=True)
def _nothing_left(engine: Engine) -> Iterator[None]:
    with nothing_left(engine):
        yield
