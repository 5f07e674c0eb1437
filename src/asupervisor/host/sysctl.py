"""The kernel's switches that a pod network needs."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

_SYSCTL_ROOT = Path("/proc/sys")


def switch_on(name: str, root: Path = _SYSCTL_ROOT) -> None:
    """Set one sysctl to 1, if it exists and has another value.

    If it does not exist (module not loaded, family disabled) or may not be written, that is logged
    and not raised: the operator may have set the node up in another way.

    Args:
        name: path below ``/proc/sys``, such as ``net/ipv4/ip_forward``.
        root: where the sysctl tree is mounted.
    """
    try:
        if (root / name).read_text().strip() != "1":
            (root / name).write_text("1")
    except OSError as error:
        log.info("sysctl %s cannot be set to 1: %s", name.replace("/", "."), error.strerror)


def pass_bridge_traffic_to_iptables() -> None:
    """Have bridged traffic pass iptables (``bridge-nf-call-iptables``), so that kube-proxy's rules
    see traffic from pod to pod.

    Does nothing if the module ``br_netfilter`` is not loaded: the operator loads modules."""
    for name in ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"):
        if (_SYSCTL_ROOT / name).exists():
            switch_on(name)
