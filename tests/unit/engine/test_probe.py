"""What is an outage and what is not: one late answer, one that this process could not have seen."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from asupervisor.engine.client import EngineClient
from asupervisor.engine.probe import Probe
from tests.harness.fake_engine import FakeEngine


class Pings:
    """Answers some pings late, by their number."""

    def __init__(self, *late: int) -> None:
        self.late = late
        self.number = 0
        self.let_go = threading.Event()

    def __call__(self) -> tuple[int, Any]:
        self.number += 1
        if self.number in self.late:
            self.let_go.wait(30)
        return 200, b"OK"


@asynccontextmanager
async def probed(fake: FakeEngine, deadline_s: float) -> AsyncIterator[tuple[EngineClient, Probe]]:
    engine = EngineClient(fake.endpoint, 5.0)
    await engine.open()
    probe = Probe(engine, 0.01, deadline_s)
    await probe.once()
    engine.health.set_synced()
    assert engine.health.ready
    try:
        yield engine, probe
    finally:
        await engine.close()


async def test_one_late_ping_is_no_outage_and_two_are(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "engine.sock") as fake:
        async with probed(fake, 0.3) as (engine, probe):
            pings = fake.answers["GET /_ping"] = Pings(1, 3, 4)
            await probe.once()
            assert engine.health.ready and pings.number == 2
            await probe.once()
            assert not engine.health.reachable
            assert engine.health.reason == "EngineNotAnswering"
            assert "did not answer ping within 0.3 s" in engine.health.message
            pings.let_go.set()
            await probe.once()
            assert engine.health.ready, "it was only slow, and no event was lost"


async def test_one_ping_that_is_broken_off_is_no_outage(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "engine.sock") as fake:
        async with probed(fake, 5.0) as (engine, probe):
            answers = iter([(500, {"message": "busy"}), (200, b"OK")])
            fake.answers["GET /_ping"] = lambda: next(answers)
            await probe.once()
            assert engine.health.ready


async def test_time_in_which_this_process_stood_still_does_not_count(tmp_path: Path) -> None:
    """The answer comes while the event loop is held up for longer than the deadline."""
    with FakeEngine(tmp_path / "engine.sock") as fake:
        async with probed(fake, 0.4) as (engine, probe):
            asked, answered = threading.Event(), threading.Event()
            number = 0

            def ping() -> tuple[int, Any]:
                nonlocal number
                number += 1
                asked.set()
                answered.wait(10)
                return 200, b"OK"

            fake.answers["GET /_ping"] = ping

            async def hold_up() -> None:
                while not asked.is_set():  # noqa: ASYNC110 - the engine's thread tells nobody
                    await anyio.sleep(0.001)
                answered.set()
                time.sleep(1.0)  # noqa: ASYNC251 - a loop that is held up longer than the deadline

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hold_up)
                await probe.once()
            assert engine.health.ready and number == 1
