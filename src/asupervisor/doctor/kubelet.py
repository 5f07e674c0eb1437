"""kubelet's configuration, where it is found."""

from __future__ import annotations

from asupervisor.doctor.finding import Found, ok
from asupervisor.doctor.node import Node


def configuration(node: Node) -> Found:
    """It can be read; other checks hold the node against it."""
    if node.kubelet_failure is not None:
        raise node.kubelet_failure
    if not node.kubelet:
        return ok(f"there is no {node.kubelet_path}; --kubelet-config names another")
    return ok(f"{node.kubelet_path} is read")
