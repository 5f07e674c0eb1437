"""The addresses of a network namespace, read from /proc without entering it."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

_PROC_NETNS = re.compile(r"(/proc/\d+)/ns/net")
_SCOPE_GLOBAL = "00"
_MOST = 64
_TABLE_BYTES = 1 << 20
"""Bytes of each table that are read: a pod that may configure its network can make it any
length.
"""
_LOOPBACK4 = ipaddress.ip_network("127.0.0.0/8")


def namespace_addresses(netns: str) -> tuple[str, ...]:
    """The global addresses in a network namespace, IPv4 first; of each family 64 at most.

    Args:
        netns: ``/proc/<pid>/ns/net``; other paths have no files to read, and give nothing.

    Returns:
        Empty where the namespace is gone, is ours, or has no address.
    """
    match = _PROC_NETNS.fullmatch(netns)
    if match is None or is_own_namespace(netns):
        return ()
    directory = Path(match.group(1)) / "net"
    return (
        *parse_fib_trie(_text(directory / "fib_trie")),
        *parse_if_inet6(_text(directory / "if_inet6")),
    )


def is_own_namespace(netns: str) -> bool:
    """Whether a path leads to the network namespace that this process is in; False where it leads
    nowhere.

    The process of the path may have ended, and its number may now be that of another one.
    """
    identity = namespace_identity(netns)
    return identity != (0, 0) and identity == namespace_identity("/proc/self/ns/net")


def namespace_identity(netns: str) -> tuple[int, int]:
    """Device and inode of a network namespace, which tell it from others that live at the same
    time; zeros where the path leads nowhere.
    """
    try:
        status = os.stat(netns)
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def parse_fib_trie(text: str) -> tuple[str, ...]:
    """The local unicast addresses in ``/proc/<pid>/net/fib_trie``, without those of loopback.

    Args:
        text: the file. An address is a ``|--`` leaf that has a ``/32 host LOCAL`` entry.
    """
    addresses: dict[str, None] = {}
    leaf = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            leaf = words[1]
        elif (
            words[:3] == ["/32", "host", "LOCAL"]
            and leaf
            and ipaddress.ip_address(leaf) not in _LOOPBACK4
        ):
            addresses[leaf] = None
            if len(addresses) == _MOST:
                break
    return tuple(addresses)


def parse_if_inet6(text: str) -> tuple[str, ...]:
    """The global addresses in ``/proc/<pid>/net/if_inet6``.

    Args:
        text: the file: address in 32 hex digits, interface index, prefix length, scope, flags and
            name on each line.
    """
    addresses: list[str] = []
    # The name of an interface may have any bytes except spaces and newlines.
    for line in text.split("\n"):
        words = [word for word in line.split(" ") if word]
        if len(addresses) == _MOST:
            break
        if len(words) == 6 and words[3] == _SCOPE_GLOBAL and words[5] != "lo":
            addresses.append(str(ipaddress.IPv6Address(int(words[0], 16))))
    return tuple(addresses)


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_TABLE_BYTES).decode("ascii", "replace")
    except OSError:
        return ""
