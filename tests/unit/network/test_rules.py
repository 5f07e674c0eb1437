from __future__ import annotations

import ipaddress

from asupervisor.network.hostports.rules import (
    Layout,
    Published,
    chain_name,
    intact,
    restore_text,
    restored,
)
from asupervisor.network.kubenet.dedup import dedup_rules
from asupervisor.network.plugin import PodNetwork, PortMapping

LAYOUT = Layout(
    "cbr0",
    (ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("fd01::/64")),
    (ipaddress.ip_network("10.0.0.0/8"),),
)
MAPPING = PortMapping("tcp", 80, 8080)
POD = PodNetwork(
    "abc", "web", "shop", "u1", port_mappings=(MAPPING, PortMapping("udp", 53, 5353, "192.0.2.1"))
)
ENTRY = Published(POD, ("10.1.0.5", "fd01::5"))
CHAIN = chain_name("abc", MAPPING)


def tables(text: str) -> dict[str, list[str]]:
    return restored({}, text)


def test_chain_names_are_kubelets() -> None:
    assert CHAIN.startswith("KUBE-HP-") and len(CHAIN) == 24
    # sha256("abc8080TCP"), base32, 16 characters
    import base64
    import hashlib

    assert CHAIN[8:] == base64.b32encode(hashlib.sha256(b"abc8080TCP").digest()).decode()[:16]


def test_a_host_port_marks_the_pods_own_traffic_and_translates() -> None:
    text = restore_text(4, LAYOUT, [ENTRY], {})
    assert (
        '-A KUBE-HOSTPORTS -p tcp -m tcp --dport 8080 -m comment --comment "web_shop hostport'
        f' 8080" -j {CHAIN}\n' in text
    )
    assert (
        f'-A {CHAIN} -s 10.1.0.5/32 -m comment --comment "web_shop hostport 8080" -j'
        " KUBE-MARK-MASQ\n" in text
    )
    assert "-j DNAT --to-destination 10.1.0.5:80\n" in text
    assert "-A KUBE-HOSTPORTS -d 192.0.2.1/32 -p udp -m udp --dport 5353" in text
    six = restore_text(6, LAYOUT, [ENTRY], {})
    assert "--to-destination [fd01::5]:80\n" in six and "5353" not in six
    assert six.index("-d ::1/128 -j RETURN") < six.index("--dport 8080")


def test_masquerade_leaves_what_stays_inside() -> None:
    four, six = restore_text(4, LAYOUT, [], {}), restore_text(6, LAYOUT, [], {})
    assert four.index("-A KUBENET-POSTROUTING -d 10.0.0.0/8 -j RETURN") < four.index(
        "-s 10.1.0.0/24 -m addrtype ! --dst-type LOCAL -j MASQUERADE"
    )
    assert "-s fd01::/64" not in six, "no IPv6 destination was named, so none is masqueraded"


def test_other_peoples_chains_are_not_declared_and_jumps_are_made_once() -> None:
    present = tables(restore_text(4, LAYOUT, [ENTRY], {}))
    present["nat"] += [":KUBE-SERVICES - [0:0]", "-A PREROUTING -j KUBE-SERVICES"]
    again = restore_text(4, LAYOUT, [ENTRY], present)
    assert "KUBE-SERVICES" not in again
    assert ":KUBE-MARK-MASQ" not in again, (
        "declared would be emptied, and it is kube-proxy's by now"
    )
    assert (
        "-A PREROUTING" not in again
        and "-A OUTPUT" not in again
        and "-A FORWARD" not in again
        and "-A POSTROUTING" not in again
    )


def test_stale_chains_go_unless_they_may_belong_to_a_pod_that_is_not_known_yet() -> None:
    present = tables(restore_text(4, LAYOUT, [ENTRY], {}))
    gone = restore_text(4, LAYOUT, [], present)
    assert f"-X {CHAIN}\n" in gone and "--dport 8080" not in gone
    kept = restore_text(4, LAYOUT, [], present, removable=lambda chain: chain != CHAIN)
    assert f"-X {CHAIN}\n" not in kept and f":{CHAIN} " not in kept
    assert kept.count(f"-j {CHAIN}\n") == 1


def test_what_a_restore_leaves_is_known_without_asking() -> None:
    others = {
        "nat": [
            ":PREROUTING ACCEPT [0:0]",
            ":OTHERS - [0:0]",
            "-A OTHERS -j RETURN",
            "-A PREROUTING -j OTHERS",
        ]
    }
    first = restored(others, restore_text(4, LAYOUT, [ENTRY], others))
    assert intact(4, [ENTRY], first)
    second = restored(first, restore_text(4, LAYOUT, [], first))
    assert not [line for line in second["nat"] if "KUBE-HP-" in line]
    assert [line for line in second["nat"] if "OTHERS" in line] == others["nat"][1:]
    assert second == restored(second, restore_text(4, LAYOUT, [], second))


def test_what_is_missing_is_noticed() -> None:
    present = tables(restore_text(4, LAYOUT, [ENTRY], {}))
    assert intact(4, [ENTRY], present)
    for lost in [
        line
        for lines in present.values()
        for line in lines
        if " -j KUBE-HOSTPORTS" in line or line.endswith(f"-j {CHAIN}")
    ]:
        without = {
            table: [line for line in lines if line != lost] for table, lines in present.items()
        }
        assert not intact(4, [ENTRY], without), lost
    assert not intact(4, [ENTRY], {})


def test_a_promiscuous_bridge_drops_the_second_copy() -> None:
    assert dedup_rules(LAYOUT.subnets)[:2] == [
        [
            "-p",
            "IPv4",
            "-s",
            "0a:58:0a:01:00:01",
            "-o",
            "veth+",
            "--ip-src",
            "10.1.0.1",
            "-j",
            "ACCEPT",
        ],
        [
            "-p",
            "IPv4",
            "-s",
            "0a:58:0a:01:00:01",
            "-o",
            "veth+",
            "--ip-src",
            "10.1.0.0/24",
            "-j",
            "DROP",
        ],
    ]
