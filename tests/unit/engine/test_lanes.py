"""Each kind of waiting has its own bounded number of connections."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.engine.client import EngineClient
from asupervisor.engine.lanes import Lane
from asupervisor.errors import ResourceExhausted
from tests.harness.fake_engine import FakeEngine


async def test_calls_in_their_grace_keep_nobody_from_the_engine(tmp_path: Path) -> None:
    let_go = threading.Event()

    def in_its_grace() -> tuple[int, Any]:
        let_go.wait(30)
        return 204, b""

    with FakeEngine(tmp_path / "engine.sock") as fake:
        fake.answers["POST /containers/abc/stop"] = in_its_grace
        fake.containers["abc"] = {"Id": "abc"}
        engine = EngineClient(fake.endpoint, 60.0)
        await engine.open()
        engine.health.set_reachable()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(300):
                    tasks.start_soon(engine.containers.stop, "abc", 600)
                while fake.requests.count("POST /containers/abc/stop") < 300:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                await engine.system.ping(20.0)
                assert await engine.containers.inspect("abc") == {"Id": "abc"}
                assert await engine.containers.inspect("abc", while_down=True) == {"Id": "abc"}
                async with engine.system.events(timeout_s=20.0):
                    pass
                let_go.set()
        await engine.close()


async def test_more_long_calls_than_there_are_places_are_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def in_its_grace() -> tuple[int, Any]:
        let_go.wait(30)
        return 204, b""

    monkeypatch.setattr(Lane.LONG, "_value_", 3)
    with FakeEngine(tmp_path / "engine.sock") as fake:
        fake.answers["POST /containers/abc/stop"] = in_its_grace
        engine = EngineClient(fake.endpoint, 60.0)
        await engine.open()
        engine.health.set_reachable()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(engine.containers.stop, "abc", 600)
                while fake.requests.count("POST /containers/abc/stop") < 3:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                with pytest.raises(ResourceExhausted, match="3 calls that may take long"):
                    await engine.containers.stop("abc", 600)
                let_go.set()
            await engine.containers.stop("abc", 600)
        await engine.close()


@pytest.mark.parametrize("length_known", [True, False])
async def test_an_answer_without_bound_is_not_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length_known: bool
) -> None:
    monkeypatch.setattr("asupervisor.engine.session._ANSWER_BYTES", 100_000)

    def endless() -> tuple[int, Any]:
        if length_known:
            return 200, b"x" * 1_000_000
        return 200, (b"x" * 10_000 for _ in range(100))

    with FakeEngine(tmp_path / "engine.sock") as fake:
        fake.answers["GET /containers/abc/json"] = endless
        fake.containers["abd"] = {"Id": "abd"}
        engine = EngineClient(fake.endpoint, 60.0)
        await engine.open()
        engine.health.set_reachable()
        with anyio.fail_after(30):
            with pytest.raises(ResourceExhausted, match="inspect container abc with more than"):
                await engine.containers.inspect("abc")
            assert await engine.containers.inspect("abd") == {"Id": "abd"}
        await engine.close()
