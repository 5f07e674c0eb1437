"""Small pure parts: bandwidth, namespace addresses, pod CIDR, claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.network.addresses import parse_fib_trie, parse_if_inet6
from asupervisor.network.bandwidth import EGRESS, INGRESS, Bandwidth, pod_bandwidth
from asupervisor.network.hostports.claims import HostPortClaims
from asupervisor.network.plugin import PodNetwork, PortMapping
from asupervisor.network.pod_cidr import PodCidr, parse_pod_cidr


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [
        ("10M", 10_000_000),
        ("1Mi", 2**20),
        ("1k", 1000),
        ("1P", 10**15),
        ("1.5G", 1_500_000_000),
        ("2e6", 2_000_000),
        ("1000500m", 1001),
    ],
)
def test_bandwidth_is_a_kubernetes_quantity(text: str, bits_per_s: int) -> None:
    assert pod_bandwidth({INGRESS: text}) == Bandwidth(ingress=bits_per_s)
    assert pod_bandwidth({EGRESS: text}).egress == bits_per_s


@pytest.mark.parametrize(
    "text",
    ["", "fast", "-1M", "999", "2P", "1MM", "10 M", "9" * 5000, "0." + "0" * 250_000, "\u0661M"],
)
def test_bandwidth_out_of_range_or_shape_names_the_annotation(text: str) -> None:
    with pytest.raises(InvalidArgument, match=EGRESS):
        pod_bandwidth({EGRESS: text})


def test_no_annotation_is_no_limit() -> None:
    assert not pod_bandwidth({"other": "1M"})


def test_addresses_of_a_namespace() -> None:
    trie = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.1.0.0/24 2 0 2
        |-- 10.1.0.0
           /24 link UNICAST
        |-- 10.1.0.5
           /32 host LOCAL
        |-- 10.1.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
Local:
     |-- 10.1.0.5
        /32 host LOCAL
"""
    assert parse_fib_trie(trie) == ("10.1.0.5",)
    inet6 = (
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fd000000000000000000000000000005 02 40 00 80     eth0\n"
        "fe80000000000000b0c5d6fffe6d4f2a 02 40 20 80     eth0\n"
    )
    assert parse_if_inet6(inet6) == ("fd00::5",)
    many = [f"     |-- 10.1.{number >> 8}.{number & 255}" for number in range(2000)]
    assert len(parse_fib_trie("".join(f"{one}\n /32 host LOCAL\n" for one in many))) == 64
    assert len(parse_if_inet6(inet6 * 2000)) == 64


def test_whoever_names_an_interface_writes_no_line_of_the_kernels_table() -> None:
    line = "fd000000000000000000000000000005 02 40 00 80     {}\n"
    for name in ("z\x1f1\x1f1\x1f00\x1f1\x1fa", "x\x1cz 1 1 00 1 a".replace(" ", "\x1f"), "\ufffd"):
        assert parse_if_inet6(line.format(name)) == ("fd00::5",)


def test_the_first_pod_cidr_wins_and_is_kept_for_the_next_start(tmp_path: Path) -> None:
    first = PodCidr("", tmp_path / "state")
    first.recall()
    assert not first
    assert not first.update("")
    assert first.update("10.1.0.0/24, fd01::/64")
    assert not first.update("10.2.0.0/24")
    assert str(first) == "10.1.0.0/24,fd01::/64"

    second = PodCidr("", tmp_path / "state")
    second.recall()
    assert str(second) == str(first)
    assert not second.update(str(first)), "said again: nothing changes"
    third = PodCidr("", tmp_path / "state")
    third.recall()
    assert third.update("10.3.0.0/24"), "something else is said after a restart: it wins"
    given = PodCidr("10.9.0.0/24", tmp_path / "state")
    given.recall()
    assert not given.update("10.3.0.0/24")
    assert str(given) == "10.9.0.0/24"


@pytest.mark.parametrize("text", ["10.1.0.0/33", "pods", "10.1.0.0/24,10.2.0.0/24"])
def test_a_malformed_pod_cidr_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="pod CIDR"):
        parse_pod_cidr(text)


def pod(name: str, *ports: PortMapping, sandbox_id: str | None = None) -> PodNetwork:
    return PodNetwork(
        name if sandbox_id is None else sandbox_id,
        name,
        "default",
        f"uid-{name}",
        port_mappings=ports,
    )


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (PortMapping("tcp", 1, 80), PortMapping("tcp", 2, 80), True),
        (PortMapping("tcp", 1, 80), PortMapping("udp", 1, 80), False),
        (PortMapping("tcp", 1, 80), PortMapping("tcp", 1, 81), False),
        (PortMapping("tcp", 1, 80), PortMapping("tcp", 1, 80, "192.0.2.1"), True),
        (PortMapping("tcp", 1, 80, "192.0.2.2"), PortMapping("tcp", 1, 80, "192.0.2.1"), False),
        (PortMapping("tcp", 1, 80, "0.0.0.0"), PortMapping("tcp", 1, 80, "192.0.2.1"), True),
        (PortMapping("tcp", 1, 80, "0.0.0.0"), PortMapping("tcp", 1, 80, "fd00::1"), False),
        (PortMapping("tcp", 1, 80, "fd00:0::1"), PortMapping("tcp", 1, 80, "fd00::1"), True),
    ],
)
def test_host_ports_overlap_by_protocol_number_and_address(
    one: PortMapping, other: PortMapping, conflict: bool
) -> None:
    claims = HostPortClaims()
    claims.claim(pod("holder", one))
    if not conflict:
        claims.claim(pod("rival", other))
        return
    with pytest.raises(FailedPrecondition, match=r"default/holder .*default/rival"):
        claims.claim(pod("rival", other))
    assert len(claims) == 1
    claims.check(pod("holder", other, sandbox_id="next"), unless_same_pod=True)
    claims.release("holder")
    claims.claim(pod("rival", other))


def test_a_host_ip_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='"localhost" of port tcp/80'):
        HostPortClaims().check(pod("web", PortMapping("tcp", 1, 80, "localhost")))


def test_a_pod_that_asks_for_a_port_twice_is_refused_unless_it_repeats_itself() -> None:
    claims = HostPortClaims()
    with pytest.raises(FailedPrecondition, match="asks twice"):
        claims.check(pod("web", PortMapping("tcp", 1, 80), PortMapping("tcp", 2, 80)))
    claims.check(pod("web", PortMapping("tcp", 1, 80), PortMapping("tcp", 1, 80)))
