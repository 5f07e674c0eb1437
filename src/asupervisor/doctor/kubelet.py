"""kubelet's configuration, where it is found."""

from __future__ import annotations

from asupervisor.doctor.finding import Found, ok
from asupervisor.doctor.node import KUBELET_CONFIGURATION, Node


def configuration(node: Node) -> Found:
    """It can be read; other checks hold the node against it."""
    if node.kubelet_failure is not None:
        raise node.kubelet_failure
    if not node.kubelet:
        return ok(f"there is no {node.kubelet_path}; --kubelet-config names another")
    return ok(f"{node.kubelet_path} is read")


def configuration_path(node: Node) -> str:
    """Where the running kubelet has it by its flag ``--config``; else the usual place."""
    for pid in node.processes("kubelet"):
        words = node.text(f"/proc/{pid}/cmdline").split("\0")
        for word, following in zip(words, [*words[1:], ""], strict=True):
            path = following if word == "--config" else word.removeprefix("--config=")
            if word.startswith("--config") and path.startswith("/"):
                return path
    return KUBELET_CONFIGURATION
