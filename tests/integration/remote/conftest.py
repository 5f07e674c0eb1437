"""Where the tests' server listens."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"unix://{tmp_path}/cri.sock"
