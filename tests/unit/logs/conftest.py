"""Logs to follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.logs.rig import Rig, Rigs


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[Rigs]:
    made: list[Rig] = []

    def make(max_size: int = 0, max_file: int = 1, *, compress: bool = False) -> Rig:
        made.append(Rig(tmp_path, max_size, max_file, compress=compress))
        return made[-1]

    yield make
    for rig in made:
        rig.stop()
        rig.source.close()


@pytest.fixture
def rig(rigs: Rigs) -> Rig:
    return rigs()
