"""Endpoints as people write them, and the advice for one where nobody answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from asupervisor.errors import ConfigError
from asupervisor.remote.endpoint import Endpoint, advice, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (
            "unix:///run/cri.sock",
            Endpoint("unix:///run/cri.sock", "unix:/run/cri.sock", "/run/cri.sock"),
        ),
        (
            "unix:/run/cri.sock",
            Endpoint("unix:///run/cri.sock", "unix:/run/cri.sock", "/run/cri.sock"),
        ),
        ("/run/cri.sock", Endpoint("unix:///run/cri.sock", "unix:/run/cri.sock", "/run/cri.sock")),
        ("tcp://127.0.0.1:3735", Endpoint("tcp://127.0.0.1:3735", "dns:///127.0.0.1:3735")),
        ("tcp://[::1]:3735", Endpoint("tcp://[::1]:3735", "dns:///[::1]:3735")),
    ],
)
def test_good(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no scheme"),
        ("run/cri.sock", "no scheme"),
        ("npipe:////./pipe/x", "unknown scheme 'npipe'"),
        ("http://localhost:1", "unknown scheme 'http'"),
        ("unix://run/cri.sock", "three slashes"),
        ("unix://", "absolute"),
        ("unix:///run/", "path of a file"),
        ("unix:///run/x?y", "query"),
        ("unix:///" + "x" * 107, "at most 107 bytes"),
        ("tcp://127.0.0.1", "port"),
        ("tcp://:80", "host"),
        ("tcp://127.0.0.1:port", "[Pp]ort"),
        ("tcp://127.0.0.1:99999", "[Pp]ort"),
    ],
)
def test_bad(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse_endpoint(text)
    assert repr(text) in caught.value.message, "the message names what it was given"
    assert "unix:///path/to/socket" in caught.value.message, "and what would do"


def test_longest_socket_path_is_accepted() -> None:
    assert parse_endpoint("unix:///" + "x" * 106).socket_path == "/" + "x" * 106


def test_advice(tmp_path: Path) -> None:
    path = tmp_path / "cri.sock"
    endpoint = parse_endpoint(str(path))
    assert "start the runtime" in advice(endpoint)
    path.touch()
    assert "not a socket" in advice(endpoint)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert "nobody listens" in advice(endpoint)
    assert "cannot be looked at" in advice(parse_endpoint(str(path / "below")))
    assert "that its address" in advice(parse_endpoint("tcp://127.0.0.1:1"))
