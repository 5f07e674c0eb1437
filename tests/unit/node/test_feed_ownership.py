"""The feed takes up pods' containers alone, and is not led by what others say."""

from __future__ import annotations

from pathlib import Path

from tests.harness.fake_engine import FakeEngine, container_document
from tests.unit.node.following import A, B, following


async def test_containers_of_others_are_not_looked_at(fake: FakeEngine, tmp_path: Path) -> None:
    async with following(fake, tmp_path) as node:
        fake.emit(
            {
                "Type": "container",
                "Action": "start",
                "Actor": {"ID": B, "Attributes": {"name": "somebody"}},
            }
        )
        fake.containers[A] = container_document(A)
        fake.container_event("create", A)
        await node.until(lambda: set(node.store.containers) == {A})
        assert f"GET /containers/{B}/json" not in fake.requests


async def test_a_container_with_a_pods_labels_and_somebodys_name_is_not_looked_at(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers[B] = container_document(B, name="somebody")
    fake.answers["GET /containers/json"] = lambda: (
        200,
        [
            {
                "Id": any_id,
                "Names": [document["Name"]],
                "Labels": document["Config"]["Labels"],
            }
            for any_id, document in fake.containers.items()
        ],
    )

    async with following(fake, tmp_path) as node:
        attributes = {"name": "somebody", "io.kubernetes.docker.type": "container"}
        for action in ("create", "start", "die"):
            event = {"Action": action, "Actor": {"ID": B, "Attributes": attributes}}
            fake.emit({"Type": "container", **event})
        fake.containers[A] = container_document(A)
        fake.container_event("create", A)
        await node.until(lambda: set(node.store.containers) == {A})
        await node.feed.resync()
        assert set(node.store.containers) == {A}
        assert f"GET /containers/{B}/json" not in fake.requests


async def test_a_container_of_another_pods_sandbox_is_not_shown_in_any_order_of_reading(
    fake: FakeEngine, tmp_path: Path
) -> None:
    stranger = container_document(B, labels={"io.kubernetes.sandbox.id": A})
    fake.containers[B] = stranger

    async with following(fake, tmp_path) as node:
        assert set(node.store.containers) == {B}, "its sandbox is not known, so it can be removed"
        fake.containers[A] = container_document(A, "k8s_POD_web_default_uid_0", sandbox=True)
        fake.container_event("start", A)
        await node.until(lambda: set(node.store.sandboxes) == {A} and not node.store.containers)
        fake.container_event("start", B)
        await node.feed.refresh(B)
        assert not node.store.containers


async def test_a_container_that_was_given_another_name_is_no_pods_any_more(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:
        assert set(node.store.containers) == {A}
        fake.containers[A]["Name"] = "/somebody"
        event = {"Action": "rename", "Actor": {"ID": A, "Attributes": {"name": "somebody"}}}
        fake.emit({"Type": "container", **event})
        await node.until(lambda: not node.store.containers)


async def test_an_answer_that_makes_no_sense_takes_nothing_away(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers[A] = container_document(A)

    async with following(fake, tmp_path) as node:
        fake.answers[f"GET /containers/{A}/json"] = lambda: (200, {"Id": A})
        fake.container_event("die", A)
        await node.until(lambda: fake.requests.count(f"GET /containers/{A}/json") >= 3)
        assert set(node.store.containers) == {A}


async def test_a_document_of_another_container_is_not_believed(
    fake: FakeEngine, tmp_path: Path
) -> None:
    fake.containers = {A: container_document(A), B: container_document(B)}
    fake.answers[f"GET /containers/{B}/json"] = lambda: (
        200,
        container_document(A, state={"Running": False, "ExitCode": 9}),
    )

    async with following(fake, tmp_path) as node:
        assert node.store.container(A).running
        assert set(node.store.unread) == {B}
