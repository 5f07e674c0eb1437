"""What ADD returns (CNI specification, section 5), in the shapes of its versions."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from asupervisor.translate.documents import at, sequence, text

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
    interfaces = sequence(result, "interfaces")
    found: list[str] = []
    for entry in sequence(result, "ips")[:_MOST]:
        index = at(entry, "interface")
        is_listed = isinstance(index, int) and 0 <= index < len(interfaces)
        interface = interfaces[index] if is_listed else None
        if not isinstance(interface, dict) or interface.get("sandbox"):
            found.append(text(entry, "address"))
    found += [text(result, family, "ip") for family in ("ip4", "ip6")]
    addresses: dict[str, None] = {}
    for address in found:
        with suppress(ValueError):
            if "%" not in address:  # a zone may be any text
                addresses[str(ipaddress.ip_interface(address).ip)] = None
    return tuple(addresses)


def host_interfaces(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the interfaces that a result lists on the host's side."""
    listed = sequence(result, "interfaces")[:_MOST]
    outside = (one for one in listed if isinstance(one, dict) and not one.get("sandbox"))
    return tuple(str(one["name"]) for one in outside if one.get("name"))


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
