"""An engine at the wire for the tests of the node state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.fake_engine import FakeEngine


@pytest.fixture
def fake(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "engine.sock")
