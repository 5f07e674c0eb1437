"""kubenet's bridge and its ports, by netlink. Everything here blocks: call it in a thread.

pyroute2 takes 0.3 s and 23 MB to import, so it is imported here, in the thread that first needs it,
and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from asupervisor.errors import Internal
from asupervisor.host.netns import in_namespace
from asupervisor.network.pod_cidr import Subnet

FALLBACK_MTU = 1460
_IFF_UP, _IFF_LOOPBACK, _IFF_PROMISC = 0x1, 0x8, 0x100
_IFA_F_NODAD = 0x02
_SCOPE_UNIVERSE = 0
_LARGEST_RATE_BYTES_PER_S = 2**32 - 1

_T = TypeVar("_T")


def gateways(subnets: Sequence[Subnet]) -> list[tuple[str, int]]:
    """The bridge's own addresses: the first one of each subnet, with its prefix length."""
    return [(str(subnet.network_address + 1), subnet.prefixlen) for subnet in subnets]


def hardware_address(subnets: Sequence[Subnet]) -> str:
    """A locally administered MAC address made from the bridge's address, so that it does not change
    with the ports.
    """
    return "0a:58:" + ":".join(
        f"{byte:02x}" for byte in (subnets[0].network_address + 1).packed[-4:]
    )


def ensure_bridge(name: str, subnets: Sequence[Subnet], mtu: int, promiscuous: bool) -> int:
    """Make the bridge, or set up the one that is there: addresses, MTU, up, promiscuous or not.

    Args:
        name: of the bridge.
        subnets: the pod CIDR.
        mtu: bytes; 0 takes the smallest of the up, non-loopback interfaces, else 1460.
        promiscuous: whether the bridge is promiscuous (hairpin mode ``promiscuous-bridge``).

    Returns:
        The MTU in bytes.

    Raises:
        Internal: the kernel refuses.
    """
    return _netlink(
        lambda netlink: _ensure_bridge(netlink, name, subnets, mtu, promiscuous),
        f"set up bridge {name}",
    )


def limit_sending(interface: str, bits_per_s: int, netns: str = "") -> None:
    """Limit what an interface sends, by an ``htb`` class of that rate and ceiling; replaces an
    earlier limit.

    A pod receives what the host's end of its pair sends, and sends by its own end: both limits go
    with the pod.

    Args:
        interface: name.
        bits_per_s: the limit.
        netns: path of the namespace that the interface is in; empty for this one.

    Raises:
        Internal: the kernel refuses, or there is no such interface.
    """
    rate = bits_per_s // 8
    if rate > _LARGEST_RATE_BYTES_PER_S:
        return  # no interface is that fast

    def limit(netlink: Any) -> None:
        index = _index(netlink, interface)
        if index is None:
            raise Internal(f"there is no interface {interface} to limit")
        if any(message.get("kind") == "htb" for message in netlink.get_qdiscs(index=index)):
            netlink.tc("del", "htb", index, 0x10000)
        netlink.tc("add", "htb", index, 0x10000, default=1)
        # A bucket of 10 ms, and never less than a packet of the largest usual size.
        netlink.tc(
            "add-class",
            "htb",
            index,
            0x10001,
            parent=0x10000,
            rate=rate,
            ceil=rate,
            burst=max(rate // 100, 9000),
        )

    work = partial(_netlink, limit, f"limit {interface}")
    if netns:
        in_namespace(netns, work)
    else:
        work()


def _netlink(action: Callable[[Any], _T], what: str) -> _T:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            return action(netlink)
    except (NetlinkError, OSError) as error:
        raise Internal(f"cannot {what}: {error}") from error


def _ensure_bridge(
    netlink: Any, name: str, subnets: Sequence[Subnet], mtu: int, promiscuous: bool
) -> int:
    links = list(netlink.get_links())
    bridge = next((link for link in links if link.get("ifname") == name), None)
    mtu = mtu or _smallest_mtu(links, bridge["index"] if bridge else 0)
    if bridge is None:
        netlink.link("add", ifname=name, kind="bridge", address=hardware_address(subnets), mtu=mtu)
        index = _index(netlink, name)
    else:
        index = bridge["index"]
    changes: dict[str, Any] = {"mtu": mtu, "state": "up"}
    promiscuous_now = bool(bridge and bridge["flags"] & _IFF_PROMISC)
    if promiscuous != promiscuous_now:
        netlink.link(
            "set", index=index, flags=_IFF_PROMISC if promiscuous else 0, change=_IFF_PROMISC
        )
    netlink.link("set", index=index, **changes)
    wanted = set(gateways(subnets))
    for message in netlink.get_addr(index=index):
        address = (message.get("address"), message["prefixlen"])
        if address in wanted:
            wanted.discard(address)
        elif message["scope"] == _SCOPE_UNIVERSE:
            # Of an earlier pod CIDR: the bridge plugin would refuse the present one.
            netlink.addr("del", index=index, address=address[0], prefixlen=address[1])
    for text, prefix_length in wanted:
        extra = {"flags": _IFA_F_NODAD} if ":" in text else {}
        netlink.addr("add", index=index, address=text, prefixlen=prefix_length, **extra)
    return mtu


def _smallest_mtu(links: Sequence[Any], bridge_index: int) -> int:
    return min(
        (
            int(link.get("mtu"))
            for link in links
            if link["flags"] & _IFF_UP
            and not link["flags"] & _IFF_LOOPBACK
            and link["index"] != bridge_index
            and (not bridge_index or link.get("master") != bridge_index)
        ),
        default=FALLBACK_MTU,
    )


def _index(netlink: Any, name: str) -> int | None:
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None
