"""What an address to listen on may look like: the same for every flag."""

from __future__ import annotations

import pytest

from asupervisor.addresses import parse_bind_address
from asupervisor.cli.flags import parse_arguments
from asupervisor.errors import ConfigError

ADDRESSES = [
    ("127.0.0.1:9100", ("127.0.0.1", 9100)),
    (":9100", ("127.0.0.1", 9100)),
    ("9100", ("127.0.0.1", 9100)),
    (":0", ("127.0.0.1", 0)),
    ("0.0.0.0:0", ("0.0.0.0", 0)),
    ("[::]:9100", ("::", 9100)),
    ("[::1]:9100", ("::1", 9100)),
    ("localhost:1", ("localhost", 1)),
]
REFUSED = [
    "host:http",
    "1.2.3.4:70000",
    "1.2.3.4:-1",
    "1.2.3.4:٣",
    "::1:9100",
    "::1",
    "[::1:9100",
    "::1]:9100",
    "[1.2.3.4]:1",
    "a/b:1",
    "a b:1",
    "host:" + "9" * 5000,
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_every_flag_reads_an_address_alike(text: str, address: tuple[str, int]) -> None:
    assert parse_bind_address(text, "--metrics-bind-addr") == address
    streaming = parse_arguments([f"--streaming-bind-addr={text}"], {}).streaming
    assert (streaming.bind_host, streaming.bind_port) == address


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_address_is_refused_by_the_flags_name(text: str) -> None:
    with pytest.raises(ConfigError, match="--metrics-bind-addr"):
        parse_bind_address(text, "--metrics-bind-addr")
    with pytest.raises(ConfigError, match="--streaming-bind-addr"):
        parse_arguments([f"--streaming-bind-addr={text}"], {})


@pytest.mark.parametrize("text", ["host", "host:", "[::1]"])
def test_the_port_may_be_left_out_only_where_it_has_a_default(text: str) -> None:
    assert parse_bind_address(text, "--x", default_port=7)[1] == 7
    with pytest.raises(ConfigError, match="--x"):
        parse_bind_address(text, "--x")
