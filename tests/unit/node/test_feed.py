"""The node state follows the engine: events, gaps, and an engine that answers oddly, with an engine
at the wire.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.engine.client import EngineClient
from asupervisor.engine.probe import Probe
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.feed import Feed
from asupervisor.node.images import ImageFeed
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.labels import TYPE_LABEL
from tests.harness.fake_engine import FakeEngine, container_document, summary
from tests.unit.node.following import A, B, Node, following


async def test_what_is_there_is_shown_before_ready_and_what_comes_and_goes_after(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:
        assert set(node.store.containers) == {A}
        fake.containers[B] = container_document(B)
        fake.container_event("create", B)
        await node.until(lambda: set(node.store.containers) == {A, B})
        fake.containers[B]["State"].update(
            Running=False, ExitCode=3, FinishedAt="2026-01-02T04:00:00Z"
        )
        fake.container_event("die", B)
        await node.until(lambda: node.store.container(B).status.state == cri.CONTAINER_EXITED)
        assert node.store.container(B).status.exit_code == 3
        del fake.containers[A]
        fake.container_event("destroy", A)
        await node.until(lambda: set(node.store.containers) == {B})


async def test_a_container_removed_while_it_is_read_does_not_come_back(
    fake: FakeEngine, tmp_path: Path
) -> None:
    seen_alive, go_on = threading.Event(), threading.Event()
    fake.containers[A] = container_document(A)

    def slow() -> tuple[int, Any]:
        document = fake.containers.get(A)
        if document is None:
            return 404, {"message": "gone"}
        seen_alive.set()
        go_on.wait(10)
        return 200, document

    async with following(fake, tmp_path) as node:
        fake.answers[f"GET /containers/{A}/json"] = slow
        fake.container_event("die", A)
        await node.until(seen_alive.is_set)
        del fake.containers[A]
        node.feed.forget(A)
        assert not node.store.containers
        brought_back: list[Any] = []
        node.store.listen(brought_back.append)
        go_on.set()
        await node.feed.refresh(A)
        assert brought_back == []


async def test_a_change_that_an_event_told_of_is_read_once(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:

        def readings() -> int:
            return fake.requests.count(f"GET /containers/{A}/json")

        before = readings()
        fake.container_event("start", A)
        await node.until(lambda: readings() == before + 1)
        await node.feed.refresh(A, after="start")
        assert readings() == before + 1, "the reading of the event shows the change"
        await node.feed.refresh(A, after="start")
        assert readings() == before + 2, "an event is counted on once"
        fake.container_event("die", A)
        await node.until(lambda: readings() == before + 3)
        await node.feed.refresh(A, after="start")
        assert readings() == before + 4, "something else was told of since"


async def test_an_event_that_comes_after_its_change_was_read_begins_no_reading(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers[A] = container_document(A)
    fake.containers[B] = container_document(B)

    async with following(fake, tmp_path) as node:

        def readings(any_id: str = A) -> int:
            return fake.requests.count(f"GET /containers/{any_id}/json")

        async def taken_up() -> None:
            """All events so far: one of another container came behind them."""
            others = readings(B)
            fake.container_event("oom", B)
            await node.until(lambda: readings(B) == others + 1)

        before = readings()
        await node.feed.refresh(A, after="start")
        fake.container_event("start", A)
        await taken_up()
        assert readings() == before + 1
        fake.container_event("start", A)
        await node.until(lambda: readings() == before + 2)  # somebody else's
        await node.feed.refresh(A, after="die")
        fake.container_event("start", A)
        await node.until(lambda: readings() == before + 4)
        fake.container_event("die", A)
        await node.until(lambda: readings() == before + 5)  # of the start in between


async def test_an_event_from_before_a_gap_is_not_counted_on(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:

        def readings() -> int:
            return fake.requests.count(f"GET /containers/{A}/json")

        before = readings()
        fake.container_event("start", A)
        await node.until(lambda: readings() == before + 1)
        resyncs = node.feed.resyncs
        fake.emit(b"no event\n")
        await node.until(lambda: node.feed.resyncs == resyncs + 1)
        before = readings()
        await node.feed.refresh(A, after="start")
        assert readings() == before + 1


@pytest.mark.parametrize(
    "event",
    [
        b"{half an ev\n",
        b"[]\n",
        b'{"Type":"container"}\n',
        b'{"Type":"container","Action":"die","Actor":{"ID":"b"},"timeNano":"soon"}\n',
        b'{"Type":"container","Action":"die","Actor":"b"}\n',
        b"x" * 3_000_000 + b"\n",
    ],
    ids=["cut", "no object", "empty", "odd time", "odd actor", "endless"],
)
async def test_an_event_that_cannot_be_read_has_everything_compared_and_keeps_the_stream(
    fake: FakeEngine, tmp_path: Path, event: bytes
) -> None:
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:
        changes, resyncs = node.engine.health.changes, node.feed.resyncs
        fake.containers[B] = container_document(B)
        fake.emit(event)
        await node.until(lambda: set(node.store.containers) == {A, B})
        await node.until(lambda: node.feed.resyncs > resyncs)
        assert node.engine.health.ready and node.engine.health.changes == changes
        assert fake.requests.count("GET /events") == 1


async def test_an_event_of_any_size_is_taken_up(fake: FakeEngine, tmp_path: Path) -> None:
    """The engine's events carry every label, with six bytes for each character that HTML knows."""
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:
        changes, resyncs = node.engine.health.changes, node.feed.resyncs
        attributes = {"annotation.big": "\\u003c" * 200_000, TYPE_LABEL: "container"}
        pairs = ",".join(f'"{key}":"{value}"' for key, value in attributes.items())

        def event(action: str, any_id: str) -> bytes:
            return (
                f'{{"status":"{action}","id":"{any_id}","from":"busybox","Type":"container",'
                f'"Action":"{action}","Actor":{{"ID":"{any_id}","Attributes":{{{pairs}}}}},'
                '"scope":"local","time":1767323044,"timeNano":1767323044000000000}\n'
            ).encode()

        fake.containers[B] = container_document(B)
        fake.emit(event("create", B))
        await node.until(lambda: set(node.store.containers) == {A, B})
        del fake.containers[A]
        fake.emit(event("destroy", A))
        await node.until(lambda: set(node.store.containers) == {B})
        assert node.feed.resyncs == resyncs and node.engine.health.changes == changes


async def test_events_are_taken_up_during_a_full_reading(fake: FakeEngine, tmp_path: Path) -> None:
    """The engine keeps a few hundred for who is slow, and drops the rest."""
    listed_once, go_on = threading.Event(), threading.Event()

    def listing() -> tuple[int, Any]:
        answer = [summary(document) for document in fake.containers.values()]
        listed_once.set()
        go_on.wait(10)
        return 200, answer

    async with following(fake, tmp_path) as node:
        fake.containers[A] = container_document(A)
        fake.answers["GET /containers/json"] = listing
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.feed.resync)
            await node.until(listed_once.is_set)
            fake.containers[B] = container_document(B)
            fake.container_event("start", B)
            await node.until(lambda: B in node.store.containers)
            del fake.containers[A]
            fake.answers[f"GET /containers/{A}/json"] = lambda: (500, {"message": "late"})
            fake.container_event("destroy", A)
            await node.until(lambda: fake.requests.count(f"GET /containers/{B}/json") > 0)
            # The list that is under way still has it.
            node.feed.forget(A)
            go_on.set()
        assert A not in node.store.unread and A not in node.store.containers


async def test_a_sandbox_that_only_a_checkpoint_knows_is_shown_as_not_ready(
    fake: FakeEngine, tmp_path: Path
) -> None:
    async with following(fake, tmp_path) as node:
        await node.checkpoints.write(
            A, Checkpoint(name="web", namespace="default", uid="u1", attempt=2)
        )
        await node.feed.resync()
        sandbox = node.store.sandbox(A)
        assert sandbox.status.state == cri.SANDBOX_NOTREADY and not sandbox.known_to_engine
        assert sandbox.status.metadata == cri.PodSandboxMetadata(
            name="web", namespace="default", uid="u1", attempt=2
        )
        await node.checkpoints.remove(A)
        node.feed.forget(A)
        assert not node.store.sandboxes


async def test_a_sandbox_made_during_a_full_reading_is_not_taken_for_gone(
    fake: FakeEngine, tmp_path: Path
) -> None:
    listed_once, go_on = threading.Event(), threading.Event()

    def listing() -> tuple[int, Any]:
        ids = [summary(document) for document in fake.containers.values()]
        listed_once.set()
        go_on.wait(10)
        return 200, ids

    async with following(fake, tmp_path) as node:
        fake.answers["GET /containers/json"] = listing
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.feed.resync)
            await node.until(listed_once.is_set)
            fake.containers[A] = container_document(
                A, name="k8s_POD_web_default_u1_0", sandbox=True
            )
            await node.checkpoints.write(A, Checkpoint(name="web", namespace="default"))
            await node.feed.refresh(A)
            go_on.set()
        assert node.store.sandbox(A).ready


async def test_images_follow_too_and_containers_are_told_their_names(
    fake: FakeEngine, tmp_path: Path
) -> None:
    image_id = "sha256:" + "0" * 64
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:
        assert node.store.container(A).status.image_ref == f"docker://{image_id}"
        summary = {
            "Id": image_id,
            "RepoTags": ["busybox:1"],
            "RepoDigests": [f"busybox@sha256:{'1' * 64}"],
            "Size": 7,
        }
        fake.answers[f"GET /images/{image_id}/json"] = lambda: (200, summary)
        fake.images.append(summary)
        fake.emit({"Type": "image", "Action": "pull", "Actor": {"ID": "busybox:1"}})
        await node.until(lambda: node.store.images)
        status = node.store.container(A).status
        assert (status.image.image, status.image_ref) == (
            "busybox:1",
            f"docker-pullable://busybox@sha256:{'1' * 64}",
        )


async def test_a_container_that_mounts_an_image_is_told_its_id_behind(
    fake: FakeEngine, tmp_path: Path
) -> None:
    """Containers are read first, and images behind them."""
    image_id = "sha256:" + "1" * 64
    document = container_document(A)
    document["HostConfig"]["Mounts"] = [{"Type": "image", "Target": "/x", "Source": "data:1"}]
    fake.containers[A] = document
    image = {"Id": image_id, "RepoTags": ["data:1"], "RepoDigests": [], "Size": 7, "Created": 1}
    fake.images.append(image)
    fake.answers[f"GET /images/{image_id}/json"] = lambda: (200, image)
    store, checkpoints = NodeStore(), CheckpointStore(tmp_path)
    engine = EngineClient(fake.endpoint, 5.0)
    await engine.open()
    with fake:
        async with anyio.create_task_group() as tasks:
            images = ImageFeed(engine, store, tasks, lambda names: False)
            feed = Feed(engine, store, checkpoints, tasks, images)
            tasks.start_soon(feed.run)
            tasks.start_soon(Probe(engine, 0.05, 1.0).run)
            node = Node(engine, store, checkpoints, feed)
            await node.until(
                lambda: (
                    A in store.containers
                    and store.container(A).status.mounts[0].image.image_ref == image_id
                )
            )
            tasks.cancel_scope.cancel()
    await engine.close()
