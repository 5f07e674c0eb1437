"""Host ports held by a socket each, so that no process takes one that leads to a pod."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Collection

from asupervisor.errors import FailedPrecondition
from asupervisor.network.plugin import PodNetwork, PortMapping

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
"""SCTP is not held: many kernels have no sockets of it, and kubelet never held one."""


class HostPortSockets:
    """The sockets of each sandbox. They are bound and do not listen, so connections that the rules
    do not lead to the pod are refused.
    """

    def __init__(self) -> None:
        self._held: dict[str, list[socket.socket]] = {}

    def probe(self, pod: PodNetwork, families: Collection[int]) -> None:
        """Refuse a pod whose host ports another process has.

        Args:
            pod: what is to be set up.
            families: 4, 6 or both: where host ports are served.

        Raises:
            FailedPrecondition: the message names the port and the pod.
        """
        for held in _open(pod, families):
            held.close()

    def hold(self, pod: PodNetwork, families: Collection[int]) -> None:
        """Take a pod's host ports, all or none; does nothing for a pod that has them already.

        Raises:
            FailedPrecondition: as :meth:`probe`.
        """
        if pod.port_mappings and pod.sandbox_id not in self._held:
            self._held[pod.sandbox_id] = _open(pod, families)

    def release(self, sandbox_id: str) -> None:
        """Give a sandbox's host ports back."""
        for held in self._held.pop(sandbox_id, ()):
            held.close()

    def close(self) -> None:
        """Give everything back."""
        for sandbox_id in list(self._held):
            self.release(sandbox_id)


def _open(pod: PodNetwork, families: Collection[int]) -> list[socket.socket]:
    opened: list[socket.socket] = []
    try:
        for mapping in pod.port_mappings:
            kind = _KINDS.get(mapping.protocol)
            if kind is not None:
                for address in _addresses(mapping, families):
                    opened.append(_bind(pod, mapping, kind, address))
    except BaseException:
        for held in opened:
            held.close()
        raise
    return opened


def _addresses(mapping: PortMapping, families: Collection[int]) -> list[str]:
    if mapping.host_ip:
        return (
            [mapping.host_ip] if ipaddress.ip_address(mapping.host_ip).version in families else []
        )
    return [address for family, address in ((4, "0.0.0.0"), (6, "::")) if family in families]


def _bind(
    pod: PodNetwork, mapping: PortMapping, kind: socket.SocketKind, address: str
) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    held = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        try:
            held.bind((address, mapping.host_port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or kind != socket.SOCK_STREAM:
                raise
            # Closed connections (TIME_WAIT) hold the port too; with this option only a listener
            # does.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((address, mapping.host_port))
    except OSError as error:
        held.close()
        where = f"{mapping.protocol}/{mapping.host_port}" + (
            f" on {mapping.host_ip}" if mapping.host_ip else ""
        )
        why = (
            "is in use by another process of the node"
            if error.errno == errno.EADDRINUSE
            else f"cannot be taken ({error.strerror})"
        )
        raise FailedPrecondition(
            f"host port {where} of pod {pod.namespace}/{pod.name} {why}", subject=pod.sandbox_id
        ) from error
    return held
