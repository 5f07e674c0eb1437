"""kubenet's iptables rules as text: pure functions from pods to the input of ``iptables-restore
--noflush``.

Everything is in chains of our own, each declared (and so emptied) by the text that fills it; other
chains get one jump, where it is missing. Chain names are those of kubelet's host port manager, so
that a peer finds and cleans them."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from asupervisor.network.hostports.claims import is_any
from asupervisor.network.plugin import PodNetwork, PortMapping
from asupervisor.network.pod_cidr import Subnet

HOSTPORTS = "KUBE-HOSTPORTS"
MARK_MASQ = "KUBE-MARK-MASQ"
POD_PREFIX = "KUBE-HP-"
POSTROUTING = "KUBENET-POSTROUTING"
FORWARD = "KUBENET-FORWARD"

_MARK = "0x4000/0x4000"
"""kube-proxy's default masquerade mark."""

_JUMPS = (
    (
        "nat",
        "PREROUTING",
        HOSTPORTS,
        '-m comment --comment "kube hostport portals" -m addrtype --dst-type LOCAL',
    ),
    (
        "nat",
        "OUTPUT",
        HOSTPORTS,
        '-m comment --comment "kube hostport portals" -m addrtype --dst-type LOCAL',
    ),
    (
        "nat",
        "POSTROUTING",
        POSTROUTING,
        '-m comment --comment "kubenet: SNAT for outbound traffic from pods"',
    ),
    ("filter", "FORWARD", FORWARD, '-m comment --comment "kubenet: forward for pods"'),
)


@dataclass(frozen=True, slots=True)
class Published:
    """A pod with host ports and the addresses that they lead to."""

    pod: PodNetwork
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What does not change from pod to pod.

    Args:
        bridge: name of the pods' bridge.
        subnets: the pod CIDR, one for each family.
        non_masquerade: where pods go with their own address.
    """

    bridge: str
    subnets: tuple[Subnet, ...]
    non_masquerade: tuple[Subnet, ...]


def chain_name(sandbox_id: str, mapping: PortMapping) -> str:
    """``KUBE-HP-`` and 16 characters of the base32 SHA-256 of sandbox id, host port, protocol and
    host IP, as kubelet names it.
    """
    text = f"{sandbox_id}{mapping.host_port}{mapping.protocol.upper()}{mapping.host_ip}"
    return POD_PREFIX + base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]


def restore_text(
    family: int,
    layout: Layout,
    published: Iterable[Published],
    present: Mapping[str, Sequence[str]],
    *,
    removable: Callable[[str], bool] = lambda chain: True,
) -> str:
    """The input of ``iptables-restore --noflush`` that makes one family's rules what they should
    be.

    Args:
        family: 4 or 6.
        layout: bridge, pod CIDR, non-masquerade CIDRs.
        published: every pod that has host ports.
        present: the tables as ``iptables-save`` shows them, for what is there already and what is
            stale.
        removable: whether the chain of a host port that is not in ``published`` may go; else it
            stays as it is.
    """
    nat, tables = list(present.get("nat", ())), {"nat": ["*nat"], "filter": ["*filter"]}
    declared, filled = [HOSTPORTS, POSTROUTING], _postrouting(family, layout)
    if MARK_MASQ not in _chains(nat):  # kube-proxy's, where there is one
        declared.append(MARK_MASQ)
        filled.append(f"-A {MARK_MASQ} -j MARK --or-mark {_MARK.split('/')[0]}")
    if family == 6:  # the kernel routes no ::1 off the host, so such packets would be lost
        filled.append(f"-A {HOSTPORTS} -d ::1/128 -j RETURN")
    wanted: set[str] = set()
    for entry in published:
        for mapping in entry.pod.port_mappings:
            address = _target(family, mapping, entry.addresses)
            if address is not None:
                chain = chain_name(entry.pod.sandbox_id, mapping)
                wanted.add(chain)
                declared.append(chain)
                filled.extend(_host_port(chain, entry.pod, mapping, address))
    unknown = [
        chain for chain in _chains(nat) if chain.startswith(POD_PREFIX) and chain not in wanted
    ]
    stale = [chain for chain in unknown if removable(chain)]
    kept = set(unknown).difference(stale)
    filled.extend(
        line
        for line in nat
        if line.startswith(f"-A {HOSTPORTS} ") and line.rsplit(" ", 1)[-1] in kept
    )
    tables["nat"] += [f":{chain} - [0:0]" for chain in (*declared, *stale)]
    tables["nat"] += [*filled, *(f"-X {chain}" for chain in stale)]
    tables["filter"] += [
        f":{FORWARD} - [0:0]",
        f"-A {FORWARD} -i {layout.bridge} -j ACCEPT",
        f"-A {FORWARD} -o {layout.bridge} -j ACCEPT",
    ]
    for table, chain, target, match in _JUMPS:
        if not _has_jump(present.get(table, ()), chain, target):
            tables[table].append(f"-A {chain} {match} -j {target}")
    return "".join("\n".join((*lines, "COMMIT")) + "\n" for lines in tables.values())


def restored(present: Mapping[str, Sequence[str]], text: str) -> dict[str, list[str]]:
    """The tables after a restore, as :func:`restore_text` looks at them.

    Args:
        present: the tables before it.
        text: the restore's input.
    """
    tables = {table: list(lines) for table, lines in present.items()}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:], [])
        elif line.startswith((":", "-X ")):
            chain = line.lstrip(":-X ").split(" ", 1)[0]
            lines[:] = [
                other for other in lines if not other.startswith((f":{chain} ", f"-A {chain} "))
            ]
            if line.startswith(":"):
                lines.append(line)
        elif line.startswith("-A "):
            lines.append(line)
    return tables


def intact(
    family: int, published: Iterable[Published], present: Mapping[str, Sequence[str]]
) -> bool:
    """Whether every chain and jump is there; others may have flushed the tables."""
    nat, filters = present.get("nat", ()), present.get("filter", ())
    wanted = {HOSTPORTS, POSTROUTING, MARK_MASQ}
    for entry in published:
        wanted.update(
            chain_name(entry.pod.sandbox_id, mapping)
            for mapping in entry.pod.port_mappings
            if _target(family, mapping, entry.addresses) is not None
        )
    return (
        wanted <= set(_chains(nat))
        and FORWARD in _chains(filters)
        and all(
            _has_jump(present.get(table, ()), chain, target) for table, chain, target, _ in _JUMPS
        )
        and all(
            _has_jump(nat, HOSTPORTS, chain) for chain in wanted if chain.startswith(POD_PREFIX)
        )
    )


def _postrouting(family: int, layout: Layout) -> list[str]:
    rules = [f"-A {POSTROUTING} -m mark --mark {_MARK} -j MASQUERADE"]
    if family == 4:
        comment = '-m comment --comment "SNAT for localhost access to hostports"'
        rules.append(f"-A {POSTROUTING} -s 127.0.0.0/8 -o {layout.bridge} {comment} -j MASQUERADE")
    kept = [subnet for subnet in layout.non_masquerade if subnet.version == family]
    if kept:
        rules += [f"-A {POSTROUTING} -d {subnet} -j RETURN" for subnet in kept]
        rules += [
            f"-A {POSTROUTING} -s {subnet} -m addrtype ! --dst-type LOCAL -j MASQUERADE"
            for subnet in layout.subnets
            if subnet.version == family
        ]
    return rules


def _host_port(chain: str, pod: PodNetwork, mapping: PortMapping, address: str) -> list[str]:
    comment = f'-m comment --comment "{pod.name}_{pod.namespace} hostport {mapping.host_port}"'
    width = 32 if ":" not in address else 128
    there = "" if is_any(mapping.host_ip) else f"-d {mapping.host_ip}/{width} "
    target = (
        f"{address}:{mapping.container_port}"
        if width == 32
        else f"[{address}]:{mapping.container_port}"
    )
    protocol = f"-p {mapping.protocol} -m {mapping.protocol}"
    return [
        f"-A {HOSTPORTS} {there}{protocol} --dport {mapping.host_port} {comment} -j {chain}",
        f"-A {chain} -s {address}/{width} {comment} -j {MARK_MASQ}",
        f"-A {chain} {protocol} {comment} -j DNAT --to-destination {target}",
    ]


def _target(family: int, mapping: PortMapping, addresses: Sequence[str]) -> str | None:
    """The pod's address that a host port leads to in one family, or None."""
    if mapping.host_ip and ipaddress.ip_address(mapping.host_ip).version != family:
        return None
    return next(
        (address for address in addresses if ipaddress.ip_address(address).version == family), None
    )


def _chains(lines: Sequence[str]) -> list[str]:
    return [line[1:].split(" ", 1)[0] for line in lines if line.startswith(":")]


def _has_jump(lines: Sequence[str], chain: str, target: str) -> bool:
    return any(line.startswith(f"-A {chain} ") and line.endswith(f" -j {target}") for line in lines)
