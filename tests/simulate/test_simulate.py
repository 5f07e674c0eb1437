"""Two hundred seeds without a finding, and that the simulator sees what it is for."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from asupervisor.dockershim.container import exec_sync, stop
from asupervisor.dockershim.sandbox import teardown
from asupervisor.logs.service import LogService
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.store import NodeStore
from asupervisor.stats.service import Stats
from asupervisor.streaming.tokens import TokenCache
from tests.simulate.run import simulate

_SEEDS = 200
_SECONDS = 6.0

# What a killed process leaves is collected when its run is over, with all that it never awaited.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_nothing_is_found_in_two_hundred_seeds() -> None:
    command = [sys.executable, "-m", "tests.simulate", "--jobs", str(os.cpu_count() or 1)]
    arguments = ["--seeds", str(_SEEDS), "--seconds", str(_SECONDS)]
    done = subprocess.run(
        [*command, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    assert f"{_SEEDS} seeds" in done.stdout


def test_a_seed_replays_exactly() -> None:
    first, again, other = (simulate(seed, 20.0) for seed in (7, 7, 8))
    assert first.calls > 20
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_a_run_keeps_nothing_of_killed_services() -> None:
    simulate(1, 6.0)  # what is made once, and collects what other tests left

    def kept() -> tuple[int, int]:
        stores = sum(isinstance(one, NodeStore) for one in gc.get_objects())
        return stores, len(os.listdir("/proc/self/fd"))

    before = kept()
    assert simulate(2, 30.0).kills
    assert kept() == before


async def _nothing(*_: Any) -> None:
    """In the place of a step that is left out."""


async def _true(*_: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("target", "name", "value", "invariant"),
    [
        (stop, "may_run", lambda shim, record: False, "untrue"),
        (teardown, "_release_beside", _nothing, "untrue"),
        (teardown, "_end_sandbox", _nothing, "untrue"),
        (CheckpointStore, "remove", _nothing, "left"),
        (NodeStore, "list_containers", lambda self: b"", "untrue"),
        (NodeStore, "list_sandboxes", lambda self: b"", "untrue"),
        (LogService, "forget", lambda self, container_id: None, "left"),
        (LogService, "reopen", _nothing, "untrue"),
        (Stats, "forget_container", lambda self, container_id: None, "untrue"),
        (exec_sync, "kill_exec", _true, "untrue"),
        (TokenCache, "_expire", lambda self: None, "untrue"),
    ],
)
def test_a_step_that_is_left_out_is_found(
    target: Any, name: str, value: Callable[..., Any], invariant: str
) -> None:
    with mock.patch.object(target, name, value):
        assert any(
            finding.invariant == invariant
            for seed in range(1, 6)
            for finding in simulate(seed, 20.0).findings
        )
