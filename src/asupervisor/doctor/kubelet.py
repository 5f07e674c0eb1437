"""kubelet's configuration, where it is found."""

from __future__ import annotations

from asupervisor.doctor.finding import Found, ok, warning
from asupervisor.doctor.node import KUBELET_CONFIGURATION, Node
from asupervisor.translate.documents import text

_RESOLVERS = "/etc/resolv.conf"


def configuration(node: Node) -> Found:
    """Whether it can be read; other checks compare the node with it."""
    if node.kubelet_failure is not None:
        raise node.kubelet_failure
    if not node.kubelet:
        return ok(f"there is no {node.kubelet_place}; --kubelet-config names another")
    return ok(f"{node.kubelet_place} is read")


def resolvers(node: Node) -> Found:
    """Whether pods can reach the name servers that kubelet gives them."""
    if not node.kubelet:
        return []
    path = text(node.kubelet, "resolvConf") or _RESOLVERS
    lines = [line.split() for line in node.text(path).splitlines()]
    servers = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    if servers and all(server.startswith("127.") or server == "::1" for server in servers):
        return warning(
            f"{path} names {', '.join(servers)}, which in a pod is the pod itself: cluster DNS and"
            " pods with dnsPolicy Default resolve no name",
            "set resolvConf for kubelet, with systemd-resolved to /run/systemd/resolve/resolv.conf",
        )
    return ok(f"pods get the name servers of {path}")


def configuration_places(node: Node) -> tuple[str, str]:
    """The paths of the running kubelet's flags ``--config`` and ``--config-dir``; else the usual
    file, and no drop-ins.
    """
    for pid in node.processes("kubelet"):
        words = node.words(pid)
        path, directory = (_path_of(flag, words) for flag in ("--config", "--config-dir"))
        if path or directory:
            return path, directory
    return KUBELET_CONFIGURATION, ""


def _path_of(flag: str, words: list[str]) -> str:
    """The value of a flag, in the next word or after ``=``; empty if it is not an absolute path."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, joined, value = word.partition("=")
        if name == flag:
            path = value if joined else following
            return path if path.startswith("/") else ""
    return ""
