"""The feed while the engine does not answer, answers late, or breaks off."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.engine.client import EngineClient
from asupervisor.engine.probe import Probe
from asupervisor.errors import Internal, Unavailable
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.feed import Feed
from asupervisor.node.images import ImageFeed
from asupervisor.node.retries import Retries
from asupervisor.node.store import NodeStore
from tests.harness.fake_engine import FakeEngine, container_document
from tests.unit.node.following import A, B, following, listed


async def test_a_reading_that_failed_is_made_up_for(fake: FakeEngine, tmp_path: Path) -> None:
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:
        fake.containers[A]["State"].update(Running=False, ExitCode=1)
        fake.answers[f"GET /containers/{A}/json"] = lambda: (500, {"message": "try later"})
        fake.container_event("die", A)
        await node.until(lambda: fake.requests.count(f"GET /containers/{A}/json") >= 3)
        assert node.store.container(A).running, "shown as it was"
        assert node.engine.health.ready
        del fake.answers[f"GET /containers/{A}/json"]
        await node.until(lambda: not node.store.container(A).running)


@pytest.mark.parametrize(
    "answer",
    [(500, {"message": "corrupt"}), (200, {"Id": B}), (200, b"{broken")],
    ids=["500", "odd", "no JSON"],
)
async def test_one_container_that_cannot_be_read_does_not_keep_the_node_from_being_ready(
    fake: FakeEngine, tmp_path: Path, answer: tuple[int, Any]
) -> None:
    fake.containers = {A: container_document(A), B: container_document(B)}
    fake.answers[f"GET /containers/{B}/json"] = lambda: answer

    async with following(fake, tmp_path) as node:
        assert set(node.store.containers) == {A}
        assert set(node.store.unread) == {B}, "shown as the engine lists it"
        assert {item.id for item in listed(node.store)} == {A, B}
        with pytest.raises(Unavailable, match="could not be read"):
            node.store.container(B)
        del fake.answers[f"GET /containers/{B}/json"]
        await node.until(lambda: set(node.store.containers) == {A, B})
        assert not node.store.unread


async def test_the_node_is_ready_although_the_engine_is_stuck_on_one_container(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asupervisor.node.feed._STRAGGLERS_S", 0.2)
    let_go = threading.Event()
    fake.containers = {A: container_document(A), B: container_document(B)}

    def stuck() -> tuple[int, Any]:
        let_go.wait(10)
        return 200, fake.containers[B]

    fake.answers[f"GET /containers/{B}/json"] = stuck

    async with following(fake, tmp_path) as node:
        assert set(node.store.containers) == {A}
        let_go.set()
        await node.until(lambda: set(node.store.containers) == {A, B})


async def test_a_lost_stream_is_a_gap_that_ends_readiness_until_all_was_read_again(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers = {A: container_document(A), B: container_document(B)}

    async with following(fake, tmp_path) as node:
        readings = node.feed.resyncs
        fake.stop()
        await node.until(lambda: not node.engine.health.ready)
        assert set(node.store.containers) == {A, B}, "shown as it was while nobody knows better"
        del fake.containers[A]
        fake.containers[B]["State"].update(Running=False)
        fake.start()
        await node.until(lambda: node.engine.health.ready)
        assert node.feed.resyncs > readings
        assert set(node.store.containers) == {B} and not node.store.container(B).running


async def test_nothing_is_known_before_the_engine_was_read_once(
    fake: FakeEngine, tmp_path: Path
) -> None:
    store = NodeStore()
    checkpoints = CheckpointStore(tmp_path / "root")
    await checkpoints.load()
    engine = EngineClient(fake.endpoint, 5.0)
    await engine.open()
    async with anyio.create_task_group() as tasks:
        images = ImageFeed(engine, store, tasks, lambda tag: False)
        feed = Feed(engine, store, checkpoints, tasks, images)
        tasks.start_soon(feed.run)
        tasks.start_soon(Probe(engine, 0.05, 1.0).run)
        await anyio.wait_all_tasks_blocked()
        assert not store.containers_known.complete and not store.images_known.complete
        let_go = threading.Event()

        def images_late() -> tuple[int, Any]:
            let_go.wait(10)
            return 200, []

        fake.answers["GET /images/json"] = images_late
        with fake, anyio.fail_after(10):
            await engine.health.wait_ready()
            assert store.containers_known.complete and not store.images_known.complete
            let_go.set()
            await store.images_known.wait()
        with anyio.fail_after(10):
            while engine.health.ready:  # noqa: ASYNC110 (nobody announces it)
                await anyio.sleep(0.01)
        assert store.containers_known.complete, "memory is the truth from then on"
        tasks.cancel_scope.cancel()
    await engine.close()


async def test_the_node_is_ready_although_the_engine_breaks_off_each_reading(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers = {A: container_document(A)}
    fake.answers[f"GET /containers/{A}/json"] = lambda: (503, {"message": "not now"})

    async with following(fake, tmp_path) as node:
        assert set(node.store.unread) == {A} and node.engine.health.ready


async def test_many_that_cannot_be_read_are_told_in_one_line_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "test"):
        retries = Retries(logging.getLogger("test"))
        for number in range(40):
            retries.failed(f"{number:064}", Internal("the disk is gone"))
        retries.tell()
        retries.failed(f"{7:064}", Internal("still"))
        retries.tell()
        assert retries.due() == []
    (told,) = [record.getMessage() for record in caplog.records]
    assert "and 35 more could not be read" in told and "the disk is gone" in told
