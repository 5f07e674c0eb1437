"""Whatever stands in a network's configuration or a plugin's answer: a value, or one error of
ours.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.errors import ServiceError
from asupervisor.host.program import Finished
from asupervisor.network.cni.config import InvalidNetworkConfig, load_bytes
from asupervisor.network.cni.execute import _failure, _object
from asupervisor.network.cni.result import host_interfaces, in_version, result_addresses

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
PLUGIN = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["bridge", "..", "a/b", ""]) | JSON, "capabilities": JSON}
)
CONFIGURATION = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["net", "", "../x", "a\nb"]) | JSON,
        "cniVersion": st.sampled_from(["1.0.0", "9.9.9", ""]) | JSON,
        "cniVersions": st.lists(st.sampled_from(["0.4.0", "1.1.0"])) | JSON,
        "plugins": st.lists(PLUGIN | JSON, max_size=3) | JSON,
        "type": JSON,
        "disableCheck": JSON,
        "disableGC": JSON,
        "loadOnlyInlinedPlugins": JSON,
    },
)
ADDRESS = st.sampled_from(
    ["10.0.0.1/24", "fd00::1/64", "10.0.0.1", "fe80::1%a\nsearch evil", "10.0.0.1/99", ""]
)
RESULT = st.fixed_dictionaries(
    {},
    optional={
        "ips": st.lists(
            st.fixed_dictionaries({}, optional={"address": ADDRESS | JSON, "interface": JSON})
            | JSON,
            max_size=4,
        )
        | JSON,
        "interfaces": st.lists(
            st.fixed_dictionaries({}, optional={"name": JSON, "sandbox": JSON}) | JSON, max_size=3
        )
        | JSON,
        "ip4": st.fixed_dictionaries({}, optional={"ip": ADDRESS | JSON}) | JSON,
        "ip6": JSON,
        "code": JSON,
        "msg": JSON,
        "details": JSON,
    },
)


def loads(source: bytes) -> None:
    try:
        network = load_bytes(source, "x.conflist")
    except InvalidNetworkConfig:
        return
    assert network.plugins and network.name and network.version
    assert isinstance(network.capabilities, frozenset)


@given(CONFIGURATION | JSON)
def test_any_configuration_is_a_network_or_one_error(document: Any) -> None:
    loads(json.dumps(document).encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_network_or_one_error(source: bytes) -> None:
    loads(source)


@pytest.mark.parametrize(
    "source",
    [
        b"[" * 100_000,
        b'{"name":' * 100_000,
        b'{"name":"a","plugins":[{"type":"x","mtu":' + b"9" * 5000 + b"}]}",
        b"9" * 5000,
        b"\xff\xfe\x00",
        b'{"name":"\\ud800","plugins":[{"type":"\\ud800"}]}',
        b'{"name":"a","plugins":[{"type":"\\u0000"}]}',
    ],
    ids=["deep", "deep objects", "long number", "number", "no UTF-8", "half characters", "zero"],
)
def test_what_breaks_parsers_is_one_error(source: bytes) -> None:
    loads(source)
    assert _object(source) is None or isinstance(_object(source), dict)


@given(RESULT)
def test_any_result_gives_addresses_that_are_some(result: dict[str, Any]) -> None:
    for address in result_addresses(result):
        assert address.isascii() and len(address.split()) == 1 and "%" not in address
    assert all(isinstance(name, str) for name in host_interfaces(result))
    assert in_version(result, "0.4.0")["cniVersion"] == "0.4.0"


@pytest.mark.parametrize("address", [1, True, 2**200, "fe80::1%a\nsearch evil/64", ["10.0.0.1", 8]])
def test_what_only_looks_like_an_address_is_none(address: Any) -> None:
    assert result_addresses({"ips": [{"address": address}]}) == ()


@pytest.mark.parametrize("depth", [260, 900, 100_000])
def test_an_answer_that_nobody_can_be_handed_is_none(depth: int) -> None:
    """It would be handed on: to the next plugin, to the cache, and back from there."""
    assert _object(b'{"dns": ' + b"[" * depth + b"]" * depth + b"}") is None
    assert _object(b'{"name": "\\ud800"}') is None
    assert _object(b'{"dns": ' + b"[" * 100 + b"]" * 100 + b"}") is not None


@given(RESULT | st.none(), st.integers(-64, 255), st.binary(max_size=50))
def test_any_failure_is_an_error_of_ours(answer: Any, code: int, stderr: bytes) -> None:
    error = _failure("plugin", Finished(code, b"", stderr), answer, "x")
    assert isinstance(error, ServiceError)
