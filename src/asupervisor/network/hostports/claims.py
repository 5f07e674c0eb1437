"""Which pod holds which host port: a table, so that a conflict is refused at once."""

from __future__ import annotations

import ipaddress

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.network.plugin import PodNetwork, PortMapping


class HostPortClaims:
    """The host ports of the pods that are set up. A port is one of a protocol on one host address
    or on all of them.
    """

    def __init__(self) -> None:
        self._by_port: dict[tuple[str, int], list[tuple[PortMapping, PodNetwork]]] = {}

    def check(self, pod: PodNetwork, *, unless_same_pod: bool = False) -> None:
        """Refuse a pod whose host ports are held.

        Args:
            pod: what is to be set up; its ``sandbox_id`` may still be empty.
            unless_same_pod: let another sandbox of the same pod (same uid) pass.

        Raises:
            InvalidArgument: a host IP is not an address.
            FailedPrecondition: the message names the port and both pods.
        """
        for mapping in pod.port_mappings:
            try:
                _families(mapping.host_ip)
            except ValueError as error:
                raise InvalidArgument(
                    f'pod {_named(pod)}: host IP "{mapping.host_ip}" of port'
                    f" {mapping.protocol}/{mapping.host_port} is not an IP address",
                    subject=pod.sandbox_id,
                ) from error
        for index, mapping in enumerate(pod.port_mappings):
            if any(
                _overlap(mapping, earlier)
                for earlier in pod.port_mappings[:index]
                if earlier != mapping
            ):
                raise FailedPrecondition(
                    f"pod {_named(pod)} asks twice for host {_port(mapping)}",
                    subject=pod.sandbox_id,
                )
            for held, holder in self._by_port.get((mapping.protocol, mapping.host_port), ()):
                if not _overlap(mapping, held):
                    continue
                if (pod.sandbox_id and holder.sandbox_id == pod.sandbox_id) or (
                    unless_same_pod and holder.uid == pod.uid
                ):
                    continue
                raise FailedPrecondition(
                    f"host {_port(held)} is held by pod {_named(holder)}; pod"
                    f" {_named(pod)} cannot have it",
                    subject=pod.sandbox_id,
                )

    def claim(self, pod: PodNetwork, *, unless_same_pod: bool = False) -> None:
        """Give a pod its host ports, all or none.

        Raises:
            FailedPrecondition: as :meth:`check`.
        """
        self.check(pod, unless_same_pod=unless_same_pod)
        self.release(pod.sandbox_id)
        for mapping in pod.port_mappings:
            key = (mapping.protocol, mapping.host_port)
            self._by_port.setdefault(key, []).append((mapping, pod))

    def release(self, sandbox_id: str) -> None:
        """Take back every host port of a sandbox."""
        for key, claims in list(self._by_port.items()):
            left = [claim for claim in claims if claim[1].sandbox_id != sandbox_id]
            if left:
                self._by_port[key] = left
            else:
                del self._by_port[key]

    def __len__(self) -> int:
        return sum(len(claims) for claims in self._by_port.values())


def _overlap(one: PortMapping, other: PortMapping) -> bool:
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    return bool(_families(one.host_ip) & _families(other.host_ip)) and (
        is_any(one.host_ip)
        or is_any(other.host_ip)
        or ipaddress.ip_address(one.host_ip) == ipaddress.ip_address(other.host_ip)
    )


def is_any(host_ip: str) -> bool:
    """Whether a host IP stands for every address of the node."""
    return not host_ip or ipaddress.ip_address(host_ip).is_unspecified


def _families(host_ip: str) -> frozenset[int]:
    return frozenset((4, 6)) if not host_ip else frozenset((ipaddress.ip_address(host_ip).version,))


def _port(mapping: PortMapping) -> str:
    where = f" on {mapping.host_ip}" if mapping.host_ip else ""
    return f"port {mapping.protocol}/{mapping.host_port}{where}"


def _named(pod: PodNetwork) -> str:
    return f"{pod.namespace}/{pod.name} ({pod.uid})"
