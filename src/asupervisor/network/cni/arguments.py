"""What a pod's network plugins are told about the pod: ``CNI_ARGS`` and capability arguments.

Sources: CNI's CONVENTIONS.md for the capabilities; kubelet's dockershim for the ``K8S_`` names,
with ``K8S_POD_UID`` as containerd and CRI-O give it."""

from __future__ import annotations

from typing import Any

from asupervisor.network.bandwidth import pod_bandwidth
from asupervisor.network.cni.execute import Attachment
from asupervisor.network.plugin import PodNetwork

INTERFACE = "eth0"

_BURST_BITS = 2**31 - 1
"""The largest that the bandwidth plugin takes, so that only the rate limits."""


def attachment_of(pod: PodNetwork, *, pod_cidr: str = "") -> Attachment:
    """A pod's interface as its plugins are told of it.

    Args:
        pod: the pod.
        pod_cidr: one CIDR for each family, separated by a comma; empty where none is known.

    Raises:
        InvalidArgument: a bandwidth annotation is wrong.
    """
    return Attachment(
        container_id=pod.sandbox_id,
        netns=pod.netns,
        interface=INTERFACE,
        arguments=(
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", pod.namespace),
            ("K8S_POD_NAME", pod.name),
            ("K8S_POD_INFRA_CONTAINER_ID", pod.sandbox_id),
            ("K8S_POD_UID", pod.uid),
        ),
        capability_arguments=_capability_arguments(pod, pod_cidr),
    )


def _capability_arguments(pod: PodNetwork, pod_cidr: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "portMappings": [
            {
                "hostPort": mapping.host_port,
                "containerPort": mapping.container_port,
                "protocol": mapping.protocol.lower(),
                "hostIP": mapping.host_ip,
            }
            for mapping in pod.port_mappings
            if mapping.host_port > 0
        ]
    }
    limits = pod_bandwidth(pod.annotations)
    if limits:
        shaping: dict[str, int] = {}
        if limits.ingress:
            shaping |= {"ingressRate": limits.ingress, "ingressBurst": _BURST_BITS}
        if limits.egress:
            shaping |= {"egressRate": limits.egress, "egressBurst": _BURST_BITS}
        arguments["bandwidth"] = shaping
    if pod_cidr:
        arguments["ipRanges"] = [
            [{"subnet": cidr.strip()}] for cidr in pod_cidr.split(",") if cidr.strip()
        ]
    if pod.dns_servers or pod.dns_searches or pod.dns_options:
        arguments["dns"] = {
            key: list(values)
            for key, values in (
                ("servers", pod.dns_servers),
                ("searches", pod.dns_searches),
                ("options", pod.dns_options),
            )
            if values
        }
    return arguments
