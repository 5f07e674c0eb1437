"""The kernel's switches that a pod network rests on."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

_SYSCTL_ROOT = Path("/proc/sys")


def set_sysctl(name: str, value: str, root: Path = _SYSCTL_ROOT) -> bool:
    """Write one sysctl where it exists and differs.

    Args:
        name: path below ``/proc/sys``, such as ``net/ipv4/ip_forward``.
        value: what to write.
        root: where the sysctl tree is mounted.

    Returns:
        Whether the switch now has that value. A switch that does not exist (module not loaded,
        family disabled) or that may not be written is logged, not raised: the operator may have set
        the node up otherwise.
    """
    path = root / name
    try:
        if path.read_text().strip() == value:
            return True
        path.write_text(value)
    except OSError as error:
        log.info("sysctl %s cannot be set to %s: %s", name.replace("/", "."), value, error.strerror)
        return False
    return True


def pass_bridge_traffic_to_iptables(root: Path = _SYSCTL_ROOT) -> None:
    """Have bridged traffic pass iptables (``bridge-nf-call-iptables``), so that kube-proxy's rules
    see pod to pod traffic.

    Does nothing where the ``br_netfilter`` module is not loaded; loading modules is the operator's
    business."""
    for name in ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"):
        if (root / name).exists():
            set_sysctl(name, "1", root)
