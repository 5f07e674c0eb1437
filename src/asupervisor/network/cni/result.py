"""What ADD returns (CNI specification, section 5), in the shapes of its versions."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

_MOST = 64
"""Addresses, and interfaces, of one result that are looked at: a pod has one or two."""


def result_addresses(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The pod's addresses in a result, in its order, without prefix length.

    Addresses of interfaces on the host's side are left out; so is what is not an address, and
    what comes after the first 64.

    Args:
        result: 0.1 and 0.2 (``ip4``, ``ip6``), 0.3 and later (``ips``, with or without
            ``interface``).
    """
    interfaces = result.get("interfaces")
    texts: list[Any] = []
    ips = result.get("ips")
    for entry in ips[:_MOST] if isinstance(ips, list) else []:
        if not isinstance(entry, dict):
            continue
        index = entry.get("interface")
        if isinstance(index, int) and isinstance(interfaces, list) and 0 <= index < len(interfaces):
            interface = interfaces[index]
            if isinstance(interface, dict) and not interface.get("sandbox"):
                continue
        texts.append(entry.get("address"))
    for family in ("ip4", "ip6"):
        entry = result.get(family)
        if isinstance(entry, dict):
            texts.append(entry.get("ip"))
    addresses: dict[str, None] = {}
    for text in texts:
        # A number would be taken for an address, and a zone may be any text.
        if not isinstance(text, str) or "%" in text:
            continue
        try:
            addresses[str(ipaddress.ip_interface(text).ip)] = None
        except ValueError:
            continue
    return tuple(addresses)


def host_interfaces(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the interfaces that a result lists on the host's side."""
    interfaces = result.get("interfaces")
    return tuple(
        str(interface["name"])
        for interface in (interfaces[:_MOST] if isinstance(interfaces, list) else [])
        if isinstance(interface, dict) and interface.get("name") and not interface.get("sandbox")
    )


def in_version(result: Mapping[str, Any], version: str) -> dict[str, Any]:
    """A cached result as ``prevResult`` for a list of another version; only what the versions spell
    differently changes.

    Args:
        result: of any version from 0.3.0.
        version: the specification version of the list that is about to be called.
    """
    converted = dict(result)
    converted["cniVersion"] = version
    ips = result.get("ips")
    if isinstance(ips, list):
        named = version in ("0.3.0", "0.3.1", "0.4.0")
        changed = []
        for entry in ips:
            if not isinstance(entry, dict):
                continue
            address = dict(entry)
            if named and "version" not in address:
                address["version"] = "6" if ":" in str(address.get("address", "")) else "4"
            elif not named:
                address.pop("version", None)
            changed.append(address)
        converted["ips"] = changed
    return converted
