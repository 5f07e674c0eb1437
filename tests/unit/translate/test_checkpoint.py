"""The checkpoint's bytes and checksum: what Go's spew and FNV-1a make of them, both ways, and
whatever else may stand in the file.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.errors import Internal
from asupervisor.translate.checkpoint import (
    Checkpoint,
    CheckpointPort,
    checksum,
    decode_checkpoint,
    encode_checkpoint,
)

IN_TREE = ("dockershim", "dockershim")
PORT = CheckpointPort("tcp", 80, 8080, "")


def nested(depth: int) -> list[Any]:
    """A list in a list in a list …"""
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("checkpoint", "cri_dockerd", "in_tree"),
    [
        (Checkpoint(name="web", namespace="default"), 2305795928, 815459779),
        (Checkpoint(name="web", namespace="default", host_network=True), 12315789, 996107268),
        (Checkpoint(name="web", namespace="default", port_mappings=(PORT,)), 3712672205, None),
    ],
    ids=["no ports", "host network", "one port"],
)
def test_golden_checksums(checkpoint: Checkpoint, cri_dockerd: int, in_tree: int | None) -> None:
    """As the peers compute them; the pod's name is not part of it."""
    assert checksum(checkpoint) == cri_dockerd
    if in_tree is not None:
        assert checksum(checkpoint, IN_TREE) == in_tree


def test_two_ports_as_cri_dockerd_wrote_them() -> None:
    ports = (CheckpointPort("tcp", 80, 18080, ""), CheckpointPort("udp", 53, 18053, "127.0.0.1"))
    assert checksum(Checkpoint(name="web", namespace="prod", port_mappings=ports)) == 2119816884


def test_a_file_has_go_s_order_and_leaves_zero_fields_out() -> None:
    document = json.loads(
        encode_checkpoint(
            Checkpoint(name="web", namespace="default", port_mappings=(PORT,), uid="u", attempt=2)
        )
    )
    assert list(document) == ["version", "name", "namespace", "data", "checksum", "asupervisor"]
    assert document["version"] == "v1"
    assert document["data"] == {
        "port_mappings": [{"protocol": "tcp", "container_port": 80, "host_port": 8080}]
    }
    assert json.loads(encode_checkpoint(Checkpoint(name="a", namespace="b")))["data"] == {}


@pytest.mark.parametrize("packages", [("core", "config"), IN_TREE])
def test_files_of_either_peer_are_read_and_count_as_complete(packages: tuple[str, str]) -> None:
    data = {"port_mappings": [{"protocol": "tcp", "container_port": 80, "host_port": 8080}]}
    expected = Checkpoint(name="web", namespace="default", port_mappings=(PORT,))
    content = {
        "version": "v1",
        "name": "web",
        "namespace": "default",
        "data": data,
        "checksum": checksum(expected, packages),
    }
    assert decode_checkpoint(json.dumps(content).encode(), "here") == expected
    assert expected.complete and expected.runtime_handler is None


@given(
    st.builds(
        Checkpoint,
        name=st.text(),
        namespace=st.text(),
        port_mappings=st.lists(
            st.builds(
                CheckpointPort,
                st.sampled_from(["tcp", "udp", "sctp", None]),
                st.one_of(st.none(), st.integers(0, 65535)),
                st.one_of(st.none(), st.integers(0, 65535)),
                st.sampled_from(["", "127.0.0.1", "::1"]),
            ),
            max_size=3,
        ).map(tuple),
        host_network=st.booleans(),
        complete=st.booleans(),
        addresses=st.lists(st.ip_addresses().map(str), max_size=2).map(tuple),
        runtime_handler=st.one_of(st.none(), st.text()),
        uid=st.text(),
        attempt=st.integers(0, 2**32 - 1),
        extra=st.dictionaries(
            st.sampled_from(["network_released", "of a later version"]), st.booleans()
        ),
    )
)
def test_what_is_written_is_read(checkpoint: Checkpoint) -> None:
    assert decode_checkpoint(encode_checkpoint(checkpoint), "here") == checkpoint


@pytest.mark.parametrize(
    "change",
    [
        {"checksum": 1},
        {"data": {"host_network": True}},
        {"data": None},
        {"name": None, "checksum": "text"},
        {"checksum": [1]},
        {"checksum": {}},
        {"name": 7},
        {"namespace": "\ud800"},
        {"asupervisor": {"attempt": -1}},
        {"asupervisor": {"attempt": "x"}},
        {"asupervisor": {"addresses": [[]]}},
        {"asupervisor": {"uid": None}},
        {"asupervisor": []} | {"checksum": None},
        {"data": {"port_mappings": [{"host_port": 1 << 80}]}},
        {"data": {"port_mappings": [[]]}},
        {"asupervisor": {"resources": 1 << 64}},
        {"asupervisor": {"resources": "\ud800"}},
        {"asupervisor": {"of a later version": nested(300)}},
    ],
)
def test_a_file_that_was_changed_is_corrupt(change: dict[str, Any]) -> None:
    document = json.loads(encode_checkpoint(Checkpoint(name="web", namespace="default"))) | change
    with pytest.raises(Internal, match="/here"):
        decode_checkpoint(json.dumps(document).encode(), "/here")


@pytest.mark.parametrize(
    "port",
    [
        CheckpointPort("-j ACCEPT", 80, 8080),
        CheckpointPort("tcp", 80, 8080, "10.0.0.1\n-A INPUT -j ACCEPT"),
        CheckpointPort("tcp", 80, 8080, "fe80::1%x"),
    ],
)
def test_a_port_that_could_not_be_asked_for_is_corrupt(port: CheckpointPort) -> None:
    """Whoever wrote the file may have added it up as well."""
    content = encode_checkpoint(Checkpoint("web", "default", port_mappings=(port,)))
    with pytest.raises(Internal, match="cannot be read"):
        decode_checkpoint(content, "here")


def test_what_is_not_an_address_is_left_out() -> None:
    told = ("10.1.1.1", "10.1.1.1/24", "-j ACCEPT", "fe80::1%a\nb", "fd00::1")
    content = encode_checkpoint(Checkpoint("web", "default", addresses=told))
    assert decode_checkpoint(content, "here").addresses == ("10.1.1.1", "fd00::1")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    with pytest.raises(Internal):
        decode_checkpoint(content, "here")


def test_no_depth_breaks_the_reader() -> None:
    with pytest.raises(Internal):
        decode_checkpoint(b'{"data":' + b"[" * 100_000, "here")


def test_what_is_kept_of_ours_is_an_object() -> None:
    """A list of pairs would pass for one."""
    document = json.loads(encode_checkpoint(Checkpoint("web", "default")))
    document["asupervisor"] = [[None, None]]
    with pytest.raises(Internal, match="cannot be read"):
        decode_checkpoint(json.dumps(document).encode(), "here")
