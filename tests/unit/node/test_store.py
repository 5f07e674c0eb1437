"""The node state: ready bytes are those of messages built afresh, whatever happened before; filters
and prefixes find what they name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given, settings
from hypothesis import strategies as st

from asupervisor.errors import InvalidArgument, NotFound
from asupervisor.node.build import (
    completed,
    container_record,
    sandbox_record,
    with_image,
)
from asupervisor.node.build_image import image_record
from asupervisor.node.records import ContainerRecord
from asupervisor.node.store import Change, NodeStore
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.labels import IMAGE_REF_LABEL
from asupervisor.translate.provenance import Seal
from tests.harness.fake_engine import container_document

SANDBOXES = [f"{number:x}" * 64 for number in range(3)]
CONTAINERS = [f"{number:x}" * 64 for number in range(8, 12)]
IMAGES = [f"sha256:{number:064x}" for number in range(3)]
TEXT = st.text(max_size=8)
LABELS = st.dictionaries(
    st.sampled_from(["app", "tier", "annotation.a", "annotation.b"]), TEXT, max_size=3
)


@st.composite
def states(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"Running": True, "Pid": draw(st.integers(1, 4_000_000))}
    return {
        "Running": False,
        "ExitCode": draw(st.integers(0, 255)),
        "FinishedAt": "2026-01-02T04:00:00Z",
        "Error": draw(TEXT),
    }


@st.composite
def sandbox_documents(draw: st.DrawFn) -> dict[str, Any]:
    addresses = draw(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), max_size=1))
    return container_document(
        draw(st.sampled_from(SANDBOXES)),
        name=(
            f"k8s_POD_{draw(st.sampled_from(['web', 'db']))}_default_uid_{draw(st.integers(0, 3))}"
        ),
        sandbox=True,
        state=draw(states()),
        labels=draw(LABELS),
        NetworkSettings={"Networks": {address: {"IPAddress": address} for address in addresses}},
    )


@st.composite
def container_documents(draw: st.DrawFn) -> dict[str, Any]:
    index = draw(st.integers(0, len(CONTAINERS) - 1))
    # A container never changes its sandbox.
    labels = draw(LABELS) | {"io.kubernetes.sandbox.id": SANDBOXES[index % len(SANDBOXES)]}
    return container_document(
        CONTAINERS[index], state=draw(states()), labels=labels, Image=draw(st.sampled_from(IMAGES))
    )


@st.composite
def image_documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    ids = draw(st.lists(st.sampled_from(IMAGES), unique=True))
    return [
        {
            "Id": image_id,
            "RepoTags": draw(
                st.lists(
                    st.sampled_from([f"repo{image_id[-1]}:1", f"repo{image_id[-1]}:2"]), unique=True
                )
            ),
            "RepoDigests": draw(
                st.lists(st.just(f"repo{image_id[-1]}@sha256:{'d' * 64}"), max_size=1)
            ),
            "Size": draw(st.integers(0, 1 << 40)),
        }
        for image_id in ids
    ]


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("sandbox"), sandbox_documents()),
        st.tuples(st.just("container"), container_documents()),
        st.tuples(st.just("images"), image_documents()),
        st.tuples(st.just("remove"), st.sampled_from([*SANDBOXES, *CONTAINERS])),
        st.tuples(st.just("list"), st.none()),
    ),
    max_size=25,
)


class Model:
    """The last document of everything, and messages made from nothing but those."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, dict[str, Any]] = {}
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}

    def check(self, store: NodeStore) -> None:
        images = {
            image_id: image_record(document, pinned=False)
            for image_id, document in self.images.items()
        }
        sandboxes = [sandbox_record(document, None, ()) for document in self.sandboxes.values()]
        # What a container's image was called first stays, so it is not in the last documents.
        first = {id_: container.image_ref for id_, container in store.containers.items()}
        containers = [
            with_image(
                replace(record, image_ref=first[record.id]), images.get(record.status.image_id)
            )
            for record in (
                container_record(document, images.get) for document in self.containers.values()
            )
        ]

        listed = cri.ListPodSandboxResponse.FromString(store.list_sandboxes())
        assert {item.id: item for item in listed.items} == {
            record.id: _sandbox_item(record.status) for record in sandboxes
        }
        listed_containers = cri.ListContainersResponse.FromString(store.list_containers())
        assert {item.id: item for item in listed_containers.containers} == {
            record.id: _container_item(record.status, record.sandbox_id) for record in containers
        }
        listed_images = cri.ListImagesResponse.FromString(store.list_images())
        assert {item.id: item for item in listed_images.images} == {
            image_id: record.image for image_id, record in images.items()
        }
        for sandbox in sandboxes:
            assert store.sandbox(sandbox.id).status_bytes == cri.PodSandboxStatusResponse(
                status=sandbox.status
            ).SerializeToString(deterministic=True)
            of_it = {record.id for record in containers if record.sandbox_id == sandbox.id}
            assert {record.id for record in store.containers_of(sandbox.id)} == of_it
        for container in containers:
            assert store.container(container.id).status_bytes == cri.ContainerStatusResponse(
                status=container.status
            ).SerializeToString(deterministic=True)
        assert len(listed.items) == len(self.sandboxes) and len(
            listed_containers.containers
        ) == len(self.containers)


def _sandbox_item(status: cri.PodSandboxStatus) -> cri.PodSandbox:
    return cri.PodSandbox(
        id=status.id,
        metadata=status.metadata,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
        runtime_handler=status.runtime_handler,
    )


def _container_item(status: cri.ContainerStatus, sandbox_id: str) -> cri.Container:
    return cri.Container(
        id=status.id,
        pod_sandbox_id=sandbox_id,
        metadata=status.metadata,
        image=status.image,
        image_ref=status.image_id,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
        image_id=status.image_id,
    )


@settings(deadline=None, max_examples=150)
@given(CHANGES)
def test_ready_bytes_are_those_of_messages_built_afresh(changes: list[tuple[str, Any]]) -> None:
    store, model = NodeStore(), Model()
    told: list[Change] = []
    store.listen(told.append)
    for kind, what in changes:
        if kind == "sandbox":
            store.put_sandbox(sandbox_record(what, None, ()))
            model.sandboxes[what["Id"]] = what
        elif kind == "container":
            store.put_container(container_record(what, store.images.get))
            model.containers[what["Id"]] = what
        elif kind == "images":
            store.replace_images([image_record(document, pinned=False) for document in what])
            model.images = {document["Id"]: document for document in what}
        elif kind == "remove":
            store.remove(what)
            model.sandboxes.pop(what, None)
            model.containers.pop(what, None)
        else:
            model.check(store)
    model.check(store)
    replayed: dict[tuple[str, str], Any] = {}
    for change in told:
        record = change.after or change.before
        assert record is not None
        assert replayed.get((change.kind, record.id)) is change.before
        replayed[change.kind, record.id] = change.after
    alive = {key: record for key, record in replayed.items() if record is not None}
    assert alive == {("sandbox", key): record for key, record in store.sandboxes.items()} | {
        ("container", key): record for key, record in store.containers.items()
    }, "the changes told, in order, make the state"


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 2**29 - 1), st.text(max_size=300))
def test_an_encoded_field_is_what_protobuf_reads(number: int, text: str) -> None:
    image = cri.ImageSpec(image=text)
    fields = UnknownFieldSet(cri.StopContainerResponse.FromString(encode_field(number, image)))
    field = fields[0]
    assert len(fields) == 1
    assert (field.field_number, field.wire_type) == (number, 2)
    assert cri.ImageSpec.FromString(field.data) == image


def filled() -> NodeStore:
    store = NodeStore()
    store.put_sandbox(
        sandbox_record(
            container_document("ab" * 32, "k8s_POD_web_default_u1_0", True, labels={"app": "web"}),
            None,
            (),
        )
    )
    stopped = {"Running": False, "ExitCode": 0}
    store.put_sandbox(
        sandbox_record(
            container_document(
                "ac" * 32, "k8s_POD_db_default_u2_1", True, state=stopped, labels={"app": "db"}
            ),
            None,
            (),
        )
    )
    for any_id, sandbox_id, state in (
        ("c1" * 32, "ab" * 32, {}),
        ("c2" * 32, "ab" * 32, stopped),
        ("d3" * 32, "ac" * 32, {}),
    ):
        labels = {"io.kubernetes.sandbox.id": sandbox_id, "tier": any_id[0]}
        store.put_container(
            container_record(
                container_document(any_id, state=state, labels=labels), store.images.get
            )
        )
    return store


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, {"ab", "ac"}),
        ({"id_prefix": "a"}, {"ab", "ac"}),
        ({"id_prefix": "ab"}, {"ab"}),
        ({"id_prefix": "ff"}, set()),
        ({"state": cri.SANDBOX_READY}, {"ab"}),
        ({"state": cri.SANDBOX_NOTREADY}, {"ac"}),
        ({"labels": {"app": "db"}}, {"ac"}),
        ({"labels": {"app": "db", "no": "such"}}, set()),
        ({"state": cri.SANDBOX_READY, "labels": {"app": "db"}}, set()),
    ],
)
def test_sandboxes_that_meet_every_condition(conditions: dict[str, Any], found: set[str]) -> None:
    assert {record.id[:2] for record in filled().select_sandboxes(**conditions)} == found


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, {"c1", "c2", "d3"}),
        ({"id_prefix": "c"}, {"c1", "c2"}),
        ({"state": cri.CONTAINER_RUNNING}, {"c1", "d3"}),
        ({"state": cri.CONTAINER_EXITED}, {"c2"}),
        ({"sandbox_prefix": "ab" * 32}, {"c1", "c2"}),
        ({"sandbox_prefix": "ac"}, {"d3"}),
        ({"sandbox_prefix": "a"}, {"c1", "c2", "d3"}),
        ({"sandbox_prefix": "f"}, set()),
        ({"labels": {"tier": "d"}}, {"d3"}),
        (
            {
                "sandbox_prefix": "ab",
                "state": cri.CONTAINER_EXITED,
                "id_prefix": "c2",
                "labels": {"tier": "c"},
            },
            {"c2"},
        ),
    ],
)
def test_containers_that_meet_every_condition(conditions: dict[str, Any], found: set[str]) -> None:
    assert {record.id[:2] for record in filled().select_containers(**conditions)} == found


def test_ids_and_their_prefixes() -> None:
    store = filled()
    assert store.sandbox("ab").id == store.sandbox("ab" * 32).id == "ab" * 32
    assert store.container("d").id == "d3" * 32
    with pytest.raises(InvalidArgument, match="ambiguous"):
        store.sandbox("a")
    with pytest.raises(NotFound, match="pod sandbox f does not exist"):
        store.sandbox("f")
    with pytest.raises(NotFound):
        store.container("ab")
    for look_up in (store.sandbox, store.container):
        with pytest.raises(InvalidArgument, match="empty"):
            look_up("")


def test_images_by_every_name_that_they_have() -> None:
    store = NodeStore()
    first, second = (f"sha256:{digit * 64}" for digit in "ab")
    digest = f"sha256:{'d' * 64}"
    store.replace_images(
        [
            image_record(
                {"Id": first, "RepoTags": ["busybox:latest"], "RepoDigests": [f"busybox@{digest}"]},
                False,
            ),
            image_record({"Id": second, "RepoTags": ["localhost:5000/team/app:v1"]}, False),
        ]
    )
    for name in (
        first,
        "a" * 64,
        "aaaa",
        "busybox",
        "busybox:latest",
        "docker.io/library/busybox",
        f"busybox@{digest}",
        f"docker.io/busybox@{digest}",
    ):
        found = store.image(name)
        assert found is not None and found.id == first, name
    found = store.image("localhost:5000/team/app:v1")
    assert found is not None and found.id == second
    for name in ("busybox:2", "localhost:5000/team/app", "UPPER", "", "aaa", "abab"):
        assert store.image(name) is None, name


def test_a_sandbox_in_the_making_is_not_ready() -> None:
    document = container_document("ab" * 32, "k8s_POD_web_default_u1_0", sandbox=True)
    for complete, state in ((False, cri.SANDBOX_NOTREADY), (True, cri.SANDBOX_READY)):
        record = sandbox_record(
            document, Checkpoint(name="web", namespace="default", complete=complete), ()
        )
        assert record.status.state == state
    assert sandbox_record(document, None, ()).ready, (
        "a missing checkpoint does not make a running sandbox less ready"
    )


ONE, OTHER = (f"sha256:{digit * 64}" for digit in "12")


def _of_image(ref: str, sealed: bool) -> ContainerRecord:
    seal, name = Seal(b"k" * 32), "k8s_main_pod_default_uid_0"
    document = container_document(CONTAINERS[0], name, Image=ONE, labels={IMAGE_REF_LABEL: ref})
    if sealed:
        document["Config"]["Labels"] = seal.sealed(document["Config"]["Labels"], name)
    return container_record(document, lambda image: None, origin=seal.origin(document))


@pytest.mark.parametrize(
    ("ref", "sealed", "expected"),
    [
        (f"docker-pullable://app@{OTHER}", True, f"docker-pullable://app@{OTHER}"),
        (f"docker://{ONE}", True, f"docker://{ONE}"),
        ("", True, f"docker-pullable://app@{ONE}"),
        # Whose label that is nobody knows.
        (f"docker-pullable://app@{OTHER}", False, f"docker-pullable://app@{ONE}"),
    ],
)
def test_a_container_keeps_its_image_ref_though_names_come_and_go(
    ref: str, sealed: bool, expected: str
) -> None:
    store = NodeStore()

    def seen() -> str:
        return store.container(CONTAINERS[0]).status.image_ref

    store.put_container(with_image(_of_image(ref, sealed), store.image(ONE)))
    named = {"Id": ONE, "RepoTags": ["app:1"], "RepoDigests": [f"app@{ONE}"]}
    store.replace_images([image_record(named, False)])
    assert seen() == expected
    for digests in ([], [f"a@{OTHER}", f"app@{ONE}"]):
        store.replace_images([image_record(named | {"RepoDigests": digests}, False)])
        assert seen() == expected
        store.put_container(with_image(_of_image(ref, sealed), store.image(ONE)))
        assert seen() == expected
    store.replace_images([])
    assert seen() == expected


def test_containers_of_a_sandbox_newest_first() -> None:
    store = NodeStore()
    for index, created in (
        (0, "2026-01-02T03:04:07Z"),
        (1, "2026-01-02T03:04:05Z"),
        (2, "2026-01-02T03:04:06Z"),
    ):
        labels = {"io.kubernetes.sandbox.id": SANDBOXES[0]}
        store.put_container(
            container_record(
                container_document(CONTAINERS[index], labels=labels, Created=created),
                store.images.get,
            )
        )
    assert [record.id for record in store.containers_of(SANDBOXES[0])] == [
        CONTAINERS[0],
        CONTAINERS[2],
        CONTAINERS[1],
    ]


@pytest.mark.parametrize("addresses", [(), ("10.1.2.3", "fd00::3")])
@pytest.mark.parametrize("pid", [0, 4711])
@pytest.mark.parametrize("network", ["default", "host"])
def test_a_sandbox_after_its_last_step_is_as_it_would_be_read(
    addresses: tuple[str, ...], pid: int, network: str
) -> None:
    document = container_document(
        "ab" * 32,
        "k8s_POD_web_default_u1_0",
        sandbox=True,
        state={"Running": bool(pid), "Pid": pid},
        HostConfig={"NetworkMode": network},
        NetworkSettings={"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
    )
    checkpoint = Checkpoint(name="web", namespace="default", complete=False, runtime_handler="")
    before = sandbox_record(document, checkpoint, ())
    assert completed(before, addresses) == sandbox_record(
        document, replace(checkpoint, complete=True), addresses
    )
