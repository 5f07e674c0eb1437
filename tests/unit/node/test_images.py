"""The node's images follow the engine: what changed is read alone, the list rarely, and never is
something older shown over something newer. With an engine at the wire.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.engine.client import EngineClient
from asupervisor.engine.probe import Probe
from asupervisor.errors import Unavailable
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.feed import Feed
from asupervisor.node.images import ImageFeed, pinned_matcher
from asupervisor.node.store import NodeStore
from tests.harness.fake_engine import FakeEngine
from tests.harness.pods import until

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")


def image(image_id: str, *tags: str, **changes: Any) -> dict[str, Any]:
    return {
        "Id": image_id,
        "RepoTags": list(tags),
        "RepoDigests": [],
        "Size": 10,
        "Created": 1,
        "Os": "linux",
        "Architecture": "amd64",
        "Config": {"User": "1000"},
        **changes,
    }


def manifest(digit: str, architecture: str, available: bool, total: int = 5) -> dict[str, Any]:
    return {
        "ID": f"sha256:{digit * 64}",
        "Kind": "image",
        "Available": available,
        "Size": {"Total": total},
        "ImageData": {"Platform": {"os": "linux", "architecture": architecture}},
    }


class Node:
    def __init__(self, fake: FakeEngine, store: NodeStore, feed: Feed) -> None:
        self.fake, self.store, self.feed, self.images = fake, store, feed, feed.images

    async def until(self, condition: Callable[[], Any]) -> None:
        await until(condition)

    def tags(self) -> dict[str, list[str]]:
        return {id_: list(record.image.repo_tags) for id_, record in self.store.images.items()}

    def asked(self, what: str) -> int:
        return self.fake.requests.count(f"GET /images/{what}json")


@asynccontextmanager
async def following(
    directory: Path, *images: dict[str, Any], api_version: str = "1.55"
) -> AsyncIterator[Node]:
    with FakeEngine(directory / "engine.sock", api_version) as fake:
        fake.images.extend(images)
        fake.info["Architecture"] = "x86_64"
        engine = EngineClient(fake.endpoint, 5.0)
        store, checkpoints = NodeStore(), CheckpointStore(directory / "checkpoints")
        await checkpoints.load()
        await engine.open()
        async with anyio.create_task_group() as tasks:
            feed = Feed(
                engine,
                store,
                checkpoints,
                tasks,
                ImageFeed(engine, store, tasks, lambda names: False),
            )
            tasks.start_soon(feed.run)
            tasks.start_soon(Probe(engine, 0.05, 1.0).run)
            with anyio.fail_after(10):
                await engine.health.wait_ready()
            node = Node(fake, store, feed)
            await node.until(lambda: len(store.images) == len(images))
            yield node
            tasks.cancel_scope.cancel()
        await engine.close()


@pytest.mark.parametrize("action", ["pull", "tag", "untag", "load", "import", "create"])
async def test_an_event_has_its_image_read_and_no_other(tmp_path: Path, action: str) -> None:
    async with following(tmp_path, image(A, "a:1"), image(B, "b:1")) as node:
        lists, of_b = node.asked(""), node.asked(f"{B}/")
        node.fake.images[0]["RepoTags"] = ["a:1", "a:2"]
        node.fake.image_event(action, "a:2" if action == "pull" else A)
        await node.until(lambda: node.tags()[A] == ["a:1", "a:2"])
        assert node.asked("") == lists
        assert node.asked(f"{B}/") == of_b


async def test_a_deleted_image_goes_by_its_event(tmp_path: Path) -> None:
    async with following(tmp_path, image(A, "a:1"), image(B, "b:1")) as node:
        lists = node.asked("")
        del node.fake.images[0]
        node.fake.image_event("delete", A)
        await node.until(lambda: node.tags() == {B: ["b:1"]})
        assert node.asked("") == lists


@pytest.mark.parametrize(
    "event",
    [
        {"Type": "image", "Action": "prune", "Actor": {"ID": "", "Attributes": {"reclaimed": "5"}}},
        {"Type": "image", "Action": "odd", "Actor": "none"},
        {"Type": "image", "Action": "tag"},
    ],
)
async def test_an_event_that_names_no_image_has_all_read(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    async with following(tmp_path, image(A, "a:1"), image(B, "b:1")) as node:
        del node.fake.images[0]
        node.fake.emit(event)
        await node.until(lambda: node.tags() == {B: ["b:1"]})


async def test_a_tag_that_moves_leaves_its_former_holder_which_is_read_too(tmp_path: Path) -> None:
    former = image(A, "a:1", "a:2", RepoDigests=[f"a@{A}"])
    async with following(tmp_path, former, image(B, "b:1")) as node:
        lists = node.asked("")
        former["RepoTags"], former["RepoDigests"] = ["a:2"], []
        node.fake.images.append(image(C, "a:1"))
        await node.images.refresh("a:1")
        assert node.tags() == {A: ["a:2"], B: ["b:1"], C: ["a:1"]}
        found = node.store.image("a:1")
        assert found is not None and found.id == C
        await node.until(lambda: not node.store.images[A].image.repo_digests)
        assert node.asked("") == lists


async def test_a_name_that_went_with_no_word_has_its_holder_read(tmp_path: Path) -> None:
    async with following(tmp_path, image(A, "a:1", "a:2")) as node:
        node.fake.images[0]["RepoTags"] = ["a:2"]
        await node.images.refresh("a:1")
        await node.until(lambda: node.tags() == {A: ["a:2"]})


async def test_a_verb_reads_once_though_events_tell_of_it(tmp_path: Path) -> None:
    async with following(tmp_path, image(A, "a:1")) as node:
        asked = node.asked("a:1/")
        async with node.images.changing("a:1"):
            for _ in range(3):
                node.fake.image_event("pull", "a:1")
            node.fake.images.append(image(B, "b:1"))
            node.fake.image_event("load", B)
            await node.until(lambda: B in node.tags())
        assert node.asked("a:1/") == asked + 1


async def test_a_verb_that_fails_has_its_image_read_all_the_same(tmp_path: Path) -> None:
    async with following(tmp_path, image(A, "a:1")) as node:

        async def fail() -> None:
            async with node.images.changing(A):
                node.fake.images[0]["RepoTags"] = ["a:2"]
                raise Unavailable("of the verb")

        with pytest.raises(Unavailable, match="of the verb"):
            await fail()
        assert node.tags() == {A: ["a:2"]}


async def test_the_audit_inspects_only_what_changed_in_the_list(tmp_path: Path) -> None:
    async with following(tmp_path, image(A, "a:1"), image(B, "b:1")) as node:
        of_a, of_b = node.asked(f"{A}/"), node.asked(f"{B}/")
        await node.images.read_all().wait()
        assert (node.asked(f"{A}/"), node.asked(f"{B}/")) == (of_a, of_b)
        node.fake.images[0]["Size"] = 99
        await node.images.read_all().wait()
        assert (node.asked(f"{A}/"), node.asked(f"{B}/")) == (of_a + 1, of_b)
        assert node.store.images[A].image.size == 99


@pytest.mark.parametrize(
    "change",
    [
        {"Created": 2},
        {"Size": 11},
        {"RepoTags": ["a:9"]},
        {"RepoDigests": [f"a@{A}"]},
        {"Manifests": [manifest("1", "arm64", True), manifest("2", "amd64", True)]},
    ],
)
async def test_a_document_is_read_again_whatever_changed_in_the_list(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    before = image(
        A, "a:1", Manifests=[manifest("1", "arm64", True), manifest("2", "amd64", False)], Config={}
    )
    async with following(tmp_path, before) as node:
        before |= change | {"Config": {"User": "77"}}
        node.fake.images[:] = [before]
        await node.images.read_all().wait()
        assert node.store.images[A].image.uid.value == 77


async def test_an_old_list_does_not_overwrite_what_was_read_after_it_was_asked_for(
    tmp_path: Path,
) -> None:
    async with following(tmp_path, image(A, "a:1"), image(B, "b:1")) as node:
        listed, go = threading.Event(), threading.Event()
        old = [dict(entry) for entry in node.fake.images]

        def slow_list() -> tuple[int, Any]:
            listed.set()
            go.wait(10)
            return 200, old

        node.fake.answers["GET /images/json"] = slow_list
        reading = node.images.read_all()
        await node.until(listed.is_set)
        node.fake.images[:] = [image(A), image(C, "a:1")]
        for subject in ("a:1", A, B):
            await node.images.refresh(subject)
        expected = {A: [], C: ["a:1"]}
        assert node.tags() == expected
        go.set()
        await reading.wait()
        assert node.tags() == expected


async def test_an_image_that_cannot_be_read_hides_no_other_and_is_tried_again(
    tmp_path: Path,
) -> None:
    async with following(tmp_path, image(A, "a:1")) as node:
        node.fake.answers[f"GET /images/{B}/json"] = lambda: (500, {"message": "odd"})
        node.fake.images.append(image(B, "b:1"))
        node.fake.images.append(image(C, "c:1"))
        await node.images.read_all().wait()
        assert node.tags() == {A: ["a:1"], C: ["c:1"]}
        del node.fake.answers[f"GET /images/{B}/json"]
        await node.until(lambda: B in node.tags())


async def test_an_index_of_which_only_another_platform_is_there_is_listed_but_not_usable(
    tmp_path: Path,
) -> None:
    foreign = image(
        A,
        "a:1",
        Descriptor={},
        Manifests=[manifest("1", "arm64", True), manifest("2", "amd64", False)],
    )
    alone = image(B, "b:1", Manifests=[{**manifest("b", "arm64", True)}])
    async with following(tmp_path, foreign, alone) as node:
        assert set(node.tags()) == {A, B}
        assert node.store.usable_image("a:1") is None and node.store.image("a:1") is not None
        # What is for one platform alone is the engine's to judge.
        assert node.store.usable_image("b:1") is not None
        foreign["Manifests"] = [manifest("1", "arm64", True), manifest("2", "amd64", True)]
        node.fake.image_event("pull", "a:1")
        await node.until(lambda: node.store.usable_image("a:1") is not None)
        assert node.store.images[A].image.size == 10


@pytest.mark.parametrize(
    "reference",
    [
        "registry.test/pause:3.10",
        f"registry.test/pause@{A}",
        f"registry.test/pause:3.10@{A}",
        A,
        A.removeprefix("sha256:"),
    ],
)
def test_the_pause_image_is_pinned_however_it_is_named(reference: str) -> None:
    pinned = pinned_matcher([reference])
    assert pinned([A, "registry.test/pause:3.10", f"registry.test/pause@{A}"])
    assert not pinned([B, "registry.test/pause:3.9", f"registry.test/pause@{B}"])


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ({"Id": B, "Config": {"User": "99999999999999999999"}}, True),
        ({"Id": B, "Config": {"Labels": None, "User": 5}, "Size": -(2**63)}, True),
        ({"Id": B, "RepoTags": [None, 7], "RepoDigests": {"a": 1}, "Size": 2**64}, True),
        ({"Id": B, "Config": "none", "Created": 1, "Manifests": [3]}, True),
        ({}, False),
        (["Id"], False),
        (None, False),
    ],
)
async def test_one_that_makes_no_sense_hides_no_other(
    tmp_path: Path, document: Any, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    nameless: dict[str, Any] = {"RepoTags": ["nameless:1"]}
    odd: dict[str, Any] = {"Id": B, "RepoTags": ["odd:1", 5], "Manifests": "x"}
    async with following(tmp_path, image(A, "a:1")) as node:
        listed = [nameless, odd, image(C, "c:1"), image(A, "a:1")]
        node.fake.answers["GET /images/json"] = lambda: (200, listed)
        node.fake.answers[f"GET /images/{B}/json"] = lambda: (200, document)
        node.fake.answers[f"GET /images/{C}/json"] = lambda: (200, listed[2])
        await node.feed.images.refresh(C)
        await node.feed.images.read_all().wait()
        assert set(node.store.images) == ({A, B, C} if shown else {A, C})
        node.feed.images.read_again()
    assert (f"{B[:19]} could not be read" in caplog.text) is not shown


async def test_one_that_cannot_be_read_is_asked_for_less_and_less(tmp_path: Path) -> None:
    """Each try of one whose document is too long costs tens of megabytes."""
    async with following(tmp_path, image(A, "a:1")) as node:
        node.fake.answers[f"GET /images/{A}/json"] = lambda: (200, [])
        await node.feed.images.read_all().wait()
        asked = node.asked(f"{A}/")
        for _ in range(20):
            node.feed.images.read_again()
            await anyio.wait_all_tasks_blocked()
        assert node.asked(f"{A}/") == asked > 0
