"""Records out of documents that make no sense: each is shown from what is known of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asupervisor.errors import Internal
from asupervisor.node.build import (
    container_record,
    sandbox_record,
    summary_record,
    without_network,
)
from asupervisor.node.build_image import image_record
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.ownership import Ownership
from asupervisor.node.records import ContainerRecord
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri
from asupervisor.translate.checkpoint import (
    Checkpoint,
    CheckpointPort,
    decode_checkpoint,
    encode_checkpoint,
)
from asupervisor.translate.limits import changed_limits
from asupervisor.translate.provenance import Seal
from asupervisor.translate.times import unix_nanoseconds
from tests.harness.documents import anything, damaged
from tests.harness.fake_engine import container_document

_A, _B = "a" * 64, "b" * 64
_CHANGED = {"hugepages": {"2MB": 4}, "unified": {"memory.high": "1"}, "oom_score_adj": 5}
_CHECKPOINT = Checkpoint(
    name="web",
    namespace="default",
    port_mappings=(CheckpointPort("tcp", 80, 8080, "10.0.0.1"),),
    addresses=("10.1.1.1",),
    runtime_handler="runc",
    uid="u",
    extra={"limits": {_A: _CHANGED}, "pid": "POD"},
)
_CONTAINER = container_document(
    _A,
    labels={
        "io.kubernetes.sandbox.id": _B,
        "io.kubernetes.container.logpath": "/var/log/x",
        "annotation.a": "b",
        "io.kubernetes.docker.cgroup": json.dumps({"unified": {"memory.high": "1"}}),
    },
    HostConfig={
        "NetworkMode": "default",
        "Memory": 5,
        "OomScoreAdj": 3,
        "CpusetCpus": "0",
        "GroupAdd": ["5"],
        "LogConfig": {"Type": "json-file", "Config": {}},
        "Mounts": [
            {"Type": "bind", "Target": "/x", "Source": "/y", "BindOptions": {}},
            {"Type": "image", "Target": "/i", "Source": "busybox", "ImageOptions": {}},
        ],
    },
    Mounts=[{"Type": "bind", "Destination": "/x", "Source": "/y", "RW": True, "Propagation": ""}],
    NetworkSettings={"Networks": {"bridge": {"IPAddress": "10.0.0.2", "GlobalIPv6Address": ""}}},
    GraphDriver={"Data": {"UpperDir": "/upper"}},
    LogPath="/log",
)
_CONTAINER["Config"] |= {"User": "1:2", "StopSignal": "SIGTERM", "Tty": True}
_CONTAINER["State"] |= {"FinishedAt": "2026-01-02T03:04:06Z", "Error": "", "OOMKilled": False}
_SUMMARY = {
    "Id": _A,
    "Names": ["/k8s_main_pod_default_uid_0"],
    "Created": 1767323045,
    "State": "running",
    "Image": "busybox",
    "ImageID": "sha256:" + "0" * 64,
    "Labels": {"io.kubernetes.docker.type": "container"},
    "HostConfig": {"NetworkMode": "default"},
}
_KEYS = ("Id", "Name", "Names", "State", "Config", "HostConfig", "Labels", "Mounts", "Created")
_documents = anything(_KEYS) | damaged(_CONTAINER)


def _no_image(reference: str) -> None:
    return None


def _store(*records: ContainerRecord) -> NodeStore:
    store = NodeStore()
    for record in records:
        store.put_container(record)
    return store


@settings(max_examples=250, deadline=None)
@given(document=_documents)
def test_any_document_is_a_container_or_an_error_and_hides_no_other(document: Any) -> None:
    sound = container_record(container_document(_B), _no_image)
    try:
        odd = container_record(document, _no_image)
    except Internal:
        return
    assert odd.id == document["Id"].encode(errors="replace").decode()
    store = _store(sound, odd) if odd.id != _B else _store(odd)
    listed = cri.ListContainersResponse.FromString(store.list_containers()).containers
    assert {container.id for container in listed} == {_B, odd.id}
    assert sound.item_bytes in store.list_containers() or odd.id == _B
    assert cri.ContainerStatusResponse.FromString(odd.status_bytes).status.id == odd.id


@settings(max_examples=250, deadline=None)
@given(document=_documents, checkpoint=st.sampled_from([None, _CHECKPOINT]))
def test_any_document_is_a_sandbox_or_an_error(
    document: Any, checkpoint: Checkpoint | None
) -> None:
    try:
        record = sandbox_record(document, checkpoint, ())
    except Internal:
        return
    store = NodeStore()
    store.put_sandbox(record)
    items = cri.ListPodSandboxResponse.FromString(store.list_sandboxes()).items
    assert [item.id for item in items] == [record.id]


@settings(max_examples=200, deadline=None)
@given(summary=anything((*_KEYS, "ImageID")) | damaged(_SUMMARY))
def test_any_summary_is_a_record_or_nothing_or_an_error(summary: Any) -> None:
    ownership = Ownership(Seal(), NodeStore(), CheckpointStore(Path("/nowhere")))
    for listed, origin in ownership.listed([summary]):
        try:
            assert origin is None or summary_record(listed, _CHECKPOINT, origin).item_bytes
        except Internal:
            continue


@settings(max_examples=250, deadline=None)
@given(document=damaged(json.loads(encode_checkpoint(_CHECKPOINT))) | anything(("data", "name")))
def test_any_checkpoint_is_read_or_an_error_and_what_is_read_can_be_used(document: Any) -> None:
    content = json.dumps(document).encode()
    try:
        checkpoint = decode_checkpoint(content, "here")
    except Internal:
        return
    assert decode_checkpoint(encode_checkpoint(checkpoint), "again") == checkpoint
    sandbox = sandbox_record(container_document(_A, sandbox=True), checkpoint, checkpoint.addresses)
    changed = changed_limits(checkpoint, _A)
    container = container_record(container_document(_A), _no_image, changed=changed)
    assert sandbox.status_bytes and container.status_bytes


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        encode_checkpoint(_CHECKPOINT).replace(b'"checksum":', b'"checksum":[1],"x":'),
        encode_checkpoint(_CHECKPOINT).replace(b'"web"', b'"\\ud800"').replace(b'"tcp"', b"[]"),
        b'{"checksum":' + b"9" * 5000 + b"}",
    ],
    ids=["lists", "objects", "a list for a checksum", "odd text", "a long number"],
)
async def test_one_checkpoint_that_cannot_be_read_keeps_no_other_from_being(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / _A).write_bytes(content)
    (tmp_path / "sandbox" / _B).write_bytes(encode_checkpoint(_CHECKPOINT))
    store = CheckpointStore(tmp_path)
    with anyio.fail_after(10):
        await store.load()
    assert store.all == {_B: _CHECKPOINT}
    assert set(store.corrupt) == {_A}


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59Z",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "1970-01-01T00:00:00+23:59",
        "\u0662026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "0001-01-01T00:00:00Z",
    ],
)
def test_a_time_that_the_cri_cannot_hold_is_none(text: str) -> None:
    assert unix_nanoseconds(text) == 0


def test_one_that_names_itself_alone_is_shown_by_what_is_known() -> None:
    config = {"Labels": {"io.kubernetes.docker.type": "container"}}
    document = {"Id": _A, "Name": "/k8s_main_pod_default_uid_3", "Config": config}
    record = container_record(document, _no_image)
    assert (record.status.metadata.name, record.status.metadata.attempt) == ("main", 3)
    assert record.status.state == cri.CONTAINER_CREATED
    assert not record.pid
    assert image_record({"Id": "sha256:" + _A}, pinned=False).image.id == "sha256:" + _A


def test_a_sandbox_whose_network_is_released_is_not_ready_and_has_no_address() -> None:
    running = container_document(_A, sandbox=True, state={"Pid": 7})
    record = sandbox_record(running, _CHECKPOINT, ("10.1.1.1", "fd00::1"))
    assert record.ready and record.status.network.additional_ips
    without = without_network(record)
    assert not without.ready and without.network_lost and without.pid == 7
    shown = cri.PodSandboxStatusResponse.FromString(without.status_bytes).status
    assert shown == without.status and shown.state == cri.SANDBOX_NOTREADY
    assert not shown.network.ip and not shown.network.additional_ips
    (item,) = cri.ListPodSandboxResponse.FromString(without.item_bytes).items
    assert item.state == cri.SANDBOX_NOTREADY
    assert record.ready, "a record is replaced, never changed"
