"""Pods of a peer: documents and checkpoints as cri-dockerd 0.4.3 left them on Docker 20.10 (paths
shortened), read by this service.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.node.build import container_record, sandbox_record
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.proto import cri
from asupervisor.translate.checkpoint import (
    Checkpoint,
    CheckpointPort,
    decode_checkpoint,
    encode_checkpoint,
)

PEER = Path(__file__).parents[2] / "data" / "cri_dockerd"
WEB = "21a3e1a84ba9fab5413f4e14ac967e4c2c3bbd06195a1d349b9eae25aeb9d588"
HOSTNET = "178f258ab87bc67c0fb5e67bc131972756c53010e19ea6d8ff52cd2c41403eed"
MAIN = "cd779ee4a29b345d51969e4e4bd05de1510debc3aae10a01361473e9b8ca6d5c"


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PEER / f"{name}.json").read_text())
    return found


def checkpoint(sandbox_id: str) -> Checkpoint:
    return decode_checkpoint((PEER / "sandbox" / sandbox_id).read_bytes(), sandbox_id)


def test_a_sandbox_of_the_peer_is_what_it_was() -> None:
    record = sandbox_record(
        document("web"), checkpoint(WEB), ("10.88.0.2",), default_runtime="runc"
    )
    status = record.status
    assert status.id == WEB and record.ready and record.complete and not record.host_network
    assert status.metadata == cri.PodSandboxMetadata(
        name="web", namespace="prod", uid="7f1d0c52-0000-4000-8000-0123456789ab", attempt=3
    )
    assert dict(status.labels) == {"app": "web", "io.kubernetes.pod.name": "web"}
    assert dict(status.annotations) == {"kubernetes.io/config.source": "api"}
    assert status.runtime_handler == "", "the engine's default runtime is what nobody asked for"
    assert status.network.ip == "10.88.0.2"
    assert status.created_at == 1795431057251146152


def test_a_sandbox_of_the_peer_with_a_runtime_of_its_own_shows_it() -> None:
    record = sandbox_record(document("web"), checkpoint(WEB), (), default_runtime="kata")
    assert record.status.runtime_handler == "runc"


def test_a_host_network_sandbox_of_the_peer_is_what_it_was() -> None:
    record = sandbox_record(document("hostnet"), checkpoint(HOSTNET), ())
    assert record.ready and record.host_network and record.status.network.ip == ""
    assert record.status.linux.namespaces.options.network == cri.NODE


def test_a_container_of_the_peer_is_what_it_was() -> None:
    record = container_record(document("web_main"), lambda image_id: None)
    status = record.status
    assert (status.id, record.sandbox_id) == (MAIN, WEB)
    assert status.metadata == cri.ContainerMetadata(name="main", attempt=2)
    assert status.state == cri.CONTAINER_RUNNING
    assert dict(status.labels) == {"tier": "front"}
    assert dict(status.annotations) == {"io.kubernetes.container.hash": "abc"}
    assert status.log_path == "/var/log/pods/main_2.log"
    (mount,) = status.mounts
    assert (mount.container_path, mount.host_path, mount.readonly) == (
        "/hostlogs",
        "/var/log/pods",
        True,
    )
    assert status.resources.linux.memory_limit_in_bytes == 64 << 20


@pytest.mark.parametrize("sandbox_id", [WEB, HOSTNET])
def test_a_checkpoint_of_the_peer_is_written_back_with_the_same_data_and_checksum(
    sandbox_id: str,
) -> None:
    theirs = json.loads((PEER / "sandbox" / sandbox_id).read_bytes())
    ours = json.loads(encode_checkpoint(checkpoint(sandbox_id)))
    assert {key: ours[key] for key in theirs} == theirs
    assert list(ours)[:-1] == list(theirs), "in the same order"


def test_the_ports_of_the_peers_checkpoint() -> None:
    assert checkpoint(WEB).port_mappings == (
        CheckpointPort("tcp", 80, 18080, ""),
        CheckpointPort("udp", 53, 18053, "127.0.0.1"),
    )
    assert checkpoint(HOSTNET).host_network


def test_the_peers_directory_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    for sandbox_id in (WEB, HOSTNET):
        (tmp_path / "sandbox" / sandbox_id).write_bytes(
            (PEER / "sandbox" / sandbox_id).read_bytes()
        )
    store = CheckpointStore(tmp_path)
    anyio.run(store.load)
    assert set(store.all) == {WEB, HOSTNET} and store.corrupt == {}
    assert all(found.complete for found in store.all.values()), (
        "a peer's sandbox counts as complete"
    )
