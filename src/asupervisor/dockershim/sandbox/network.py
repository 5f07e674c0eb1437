"""A pod as its network plugin sees it, out of its request or out of what was kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from asupervisor.host.netns import hold_namespace
from asupervisor.host.processes import network_namespace
from asupervisor.network.plugin import PodNetwork, PortMapping
from asupervisor.node.networks import MADE_FOR
from asupervisor.node.records import SandboxRecord
from asupervisor.proto import cri
from asupervisor.translate.checkpoint import Checkpoint

_PROTOCOLS = {cri.TCP: "tcp", cri.UDP: "udp", cri.SCTP: "sctp"}


def pod_network(sandbox_id: str, config: cri.PodSandboxConfig, netns: str) -> PodNetwork:
    """Out of RunPodSandbox's request; mappings without a host port are left out."""
    return PodNetwork(
        sandbox_id=sandbox_id,
        name=config.metadata.name,
        namespace=config.metadata.namespace,
        uid=config.metadata.uid,
        netns=netns,
        port_mappings=tuple(
            PortMapping(
                _PROTOCOLS[port.protocol], port.container_port, port.host_port, port.host_ip
            )
            for port in config.port_mappings
            if port.host_port
        ),
        annotations=dict(config.annotations),
        dns_servers=tuple(config.dns_config.servers),
        dns_searches=tuple(config.dns_config.searches),
        dns_options=tuple(config.dns_config.options),
    )


def recorded_network(
    sandbox_id: str, record: SandboxRecord | None, checkpoint: Checkpoint | None
) -> PodNetwork:
    """Out of the node state and the checkpoint; either may be missing, the namespace gone."""
    metadata = record.status.metadata if record is not None else cri.PodSandboxMetadata()
    ports = checkpoint.port_mappings if checkpoint is not None else ()
    return PodNetwork(
        sandbox_id=sandbox_id,
        name=metadata.name or (checkpoint.name if checkpoint is not None else ""),
        namespace=metadata.namespace or (checkpoint.namespace if checkpoint is not None else ""),
        uid=metadata.uid or (checkpoint.uid if checkpoint is not None else ""),
        netns=_netns(record, checkpoint),
        port_mappings=tuple(
            PortMapping(
                (port.protocol or "tcp").lower(),
                port.container_port or 0,
                port.host_port,
                port.host_ip or "",
            )
            for port in ports
            if port.host_port
        ),
        annotations=dict(record.status.annotations) if record is not None else {},
    )


@contextmanager
def held_network(
    sandbox_id: str, record: SandboxRecord | None, checkpoint: Checkpoint | None
) -> Iterator[PodNetwork]:
    """As :func:`recorded_network`; the namespace exists as long as the block lasts, also if the
    sandbox's process ends.
    """
    network = recorded_network(sandbox_id, record, checkpoint)
    held = hold_namespace(record.pid, record.id) if record is not None and network.netns else None
    try:
        yield replace(network, held=held)
    finally:
        if held is not None:
            held.close()


def _netns(record: SandboxRecord | None, checkpoint: Checkpoint | None) -> str:
    """The namespace that the pod's network was made in; empty where that is gone."""
    if record is None or not record.pid:
        return ""
    made_for = checkpoint.extra.get(MADE_FOR) if checkpoint is not None else None
    # A release that was cut short left the namespace.
    if record.network_lost and made_for != record.started:
        return ""
    return network_namespace(record.pid, record.id)
