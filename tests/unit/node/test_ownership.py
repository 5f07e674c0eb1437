"""What a container says of its sandbox is held against what is known of that, whichever of the two
is read first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import Internal
from asupervisor.node.build import container_record, sandbox_record, summary_record
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.ownership import Ownership
from asupervisor.node.store import NodeStore
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.labels import container_labels, sandbox_labels
from asupervisor.translate.provenance import Seal
from tests.harness.fake_engine import container_document

WEB, DB, MAIN, OTHER = "a" * 64, "b" * 64, "c" * 64, "d" * 64
NAME = "k8s_main_web_default_uid-web_0"


class Node:
    def __init__(self, root: Path) -> None:
        self.store, self.checkpoints = NodeStore(), CheckpointStore(root)
        self.ownership = Ownership(Seal(b"k" * 32), self.store, self.checkpoints)

    def put_sandbox(self, any_id: str, name: str) -> None:
        document = container_document(any_id, f"k8s_POD_{name}_default_uid-{name}_0", sandbox=True)
        self.store.put_sandbox(sandbox_record(document, None, ()))

    def put_container(self, document: dict[str, Any]) -> None:
        self.store.put_container(container_record(document, self.store.image))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def main(sandbox_id: str, any_id: str = MAIN, **labels: str) -> dict[str, Any]:
    return container_document(
        any_id, NAME, labels={"io.kubernetes.sandbox.id": sandbox_id, **labels}
    )


def test_a_peers_container_is_of_the_sandbox_of_its_name_or_of_none_that_is_known(
    node: Node,
) -> None:
    node.put_sandbox(WEB, "web")
    node.put_sandbox(DB, "db")
    for sandbox_id in (WEB, OTHER, ""):
        origin = node.ownership.origin(main(sandbox_id))
        assert origin is not None and origin.sandbox_id == sandbox_id
    assert node.ownership.origin(main(DB)) is None


@pytest.mark.parametrize(
    ("name", "uid", "fits"),
    [("web", "uid-web", True), ("web", "", True), ("web", "uid", False), ("db", "", False)],
)
async def test_a_sandbox_that_only_a_checkpoint_knows_counts_too(
    node: Node, name: str, uid: str, fits: bool
) -> None:
    await node.checkpoints.write(WEB, Checkpoint(name=name, namespace="default", uid=uid))
    assert (node.ownership.origin(main(WEB)) is not None) == fits


def test_a_container_is_nobodys_sandbox(node: Node) -> None:
    node.put_container(main(""))
    assert node.ownership.origin(main(MAIN, OTHER)) is None


def test_one_that_was_read_before_its_sandbox_is_found_again(node: Node) -> None:
    node.put_container(main(WEB))
    node.put_container(main(DB, OTHER))
    node.put_sandbox(WEB, "web")
    node.put_sandbox(DB, "db")
    assert node.ownership.strangers(node.store.sandbox(WEB)) == []
    assert node.ownership.strangers(node.store.sandbox(DB)) == [OTHER]


def test_of_what_is_listed_sandboxes_come_first(node: Node) -> None:
    def summary(any_id: str, name: str, **labels: str) -> dict[str, Any]:
        document = container_document(any_id, name, sandbox="POD" in name, labels=labels)
        return {"Id": any_id, "Names": [f"/{name}"], "Labels": document["Config"]["Labels"]}

    sandbox_id = {"io.kubernetes.sandbox.id": DB}
    shown = []
    for listed, origin in node.ownership.listed(
        [
            summary(MAIN, NAME, **sandbox_id),
            summary(OTHER, "k8s_main_db_default_uid-db_0", **sandbox_id),
            summary("e" * 64, "somebody", **sandbox_id),
            summary(DB, "k8s_POD_db_default_uid-db_0"),
            {"Id": "f" * 64},
        ]
    ):
        if origin is not None:
            node.store.put_unread(summary_record(listed, None, origin))
        shown.append((listed["Id"], origin is not None))
    assert shown == [(DB, True), (MAIN, False), (OTHER, True), ("f" * 64, False)]


def test_what_is_sealed_is_believed_of_its_sandbox(node: Node) -> None:
    node.put_sandbox(DB, "db")
    document = main("")
    document["Config"]["Labels"] = node.ownership.seal.sealed(
        container_labels({}, {}, DB, ""), NAME
    )
    origin = node.ownership.origin(document)
    assert origin is not None and origin.sandbox_id == DB


def test_one_that_may_be_missed_is_told_of_once(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.put_sandbox(DB, "db")
    stranger = container_document(OTHER, "web", labels={"io.kubernetes.sandbox.id": DB})
    for _ in range(2):
        assert node.ownership.origin(main(DB)) is None
        assert node.ownership.origin(stranger) is None, "no name of a pod's: nobody misses it"
    (line,) = caplog.messages
    assert MAIN[:12] in line and NAME in line


@pytest.mark.parametrize(
    "document", [{"Id": MAIN}, {"Id": MAIN, "Name": 7, "Config": {}}, {"Id": MAIN, "Name": "/web"}]
)
def test_an_answer_that_does_not_tell_is_not_a_no(node: Node, document: dict[str, Any]) -> None:
    with pytest.raises(Internal, match=MAIN):
        node.ownership.origin(document)


def sealed_main(node: Node, name: str) -> dict[str, Any]:
    labels = container_labels({}, {}, WEB, "")
    return container_document(MAIN, name, labels=node.ownership.seal.sealed(labels, NAME))


@pytest.mark.parametrize("name", ["plain", "k8s_main_db_default_uid-db_0"])
def test_one_that_was_renamed_is_the_same(node: Node, name: str) -> None:
    """By its id; not another one with its labels."""
    made, renamed = sealed_main(node, NAME), sealed_main(node, name)
    node.put_sandbox(WEB, "web")
    node.put_sandbox(DB, "db")
    assert node.ownership.origin(renamed) is None
    origin = node.ownership.origin(made)
    assert origin is not None
    node.store.put_container(container_record(made, node.store.image, origin=origin))
    found = node.ownership.origin(renamed)
    assert found == origin and found.sealed
    assert node.ownership.named(renamed)["Name"] == f"/{NAME}"
    assert node.ownership.origin({**renamed, "Id": OTHER}) is None


async def test_a_sandbox_that_was_renamed_is_known_by_its_checkpoint(node: Node) -> None:
    name = "k8s_POD_web_default_uid-web_3"
    labels = node.ownership.seal.sealed(sandbox_labels({"app": "web"}, {}), name)
    renamed = container_document(WEB, "plain", sandbox=True, labels=labels)
    assert node.ownership.origin(renamed) is None
    kept = Checkpoint(name="web", namespace="default", uid="uid-web", attempt=3)
    await node.checkpoints.write(WEB, kept)
    origin = node.ownership.origin(renamed)
    assert origin is not None and origin.sealed and origin.name.attempt == 3
    assert node.ownership.origin({**renamed, "Id": OTHER}) is None
