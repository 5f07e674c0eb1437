"""A CRI sandbox as the engine container that holds its namespaces."""

from __future__ import annotations

from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.checkpoint import Checkpoint, CheckpointPort
from asupervisor.translate.labels import sandbox_labels
from asupervisor.translate.names import SANDBOX_CONTAINER_NAME, container_name
from asupervisor.translate.namespaces import sandbox_modes
from asupervisor.translate.resources import cgroup_parent, clamp_oom_score
from asupervisor.translate.security import ReadProfile, sandbox_security

STOP_GRACE_S = 10
"""Seconds between SIGTERM and SIGKILL for a sandbox's own process."""
_CPU_SHARES = 2
_OOM_SCORE = -998
_SHM_BYTES = 64 << 20
_PROTOCOLS = {cri.TCP: "tcp", cri.UDP: "udp", cri.SCTP: "sctp"}


def pod_subject(metadata: cri.PodSandboxMetadata) -> str:
    """A pod in the words of errors and logs: ``pod namespace/name``."""
    return f"pod {metadata.namespace}/{metadata.name}"


def check_sandbox_config(config: cri.PodSandboxConfig) -> None:
    """Refuse a config that cannot be run, before anything is created for it.

    Raises:
        InvalidArgument: it names the field.
    """
    metadata = config.metadata
    if not (metadata.name and metadata.namespace and metadata.uid):
        raise InvalidArgument(
            f'the sandbox config needs metadata with name, namespace and uid (name "{metadata.name}", namespace "{metadata.namespace}", '
            f'uid "{metadata.uid}")'
        )
    subject = pod_subject(metadata)
    if config.HasField("windows"):
        raise InvalidArgument(f"{subject}: this node runs Linux; the windows config cannot be applied")
    if len(config.hostname) > 63:
        raise InvalidArgument(f'{subject}: the hostname "{config.hostname}" is longer than 63 bytes')
    for port in config.port_mappings:
        if not 0 < port.container_port < 65536 or not 0 <= port.host_port < 65536:
            raise InvalidArgument(f"{subject}: port mapping {port.host_port}:{port.container_port} is not between 1 and 65535")


def sandbox_name(metadata: cri.PodSandboxMetadata) -> str:
    """The engine container's name."""
    return container_name(SANDBOX_CONTAINER_NAME, metadata.name, metadata.namespace, metadata.uid, metadata.attempt)


def sandbox_body(
    config: cri.PodSandboxConfig,
    *,
    image: str,
    runtime: str,
    engine_network_mode: str,
    publish_ports: bool,
    cgroup_driver: str,
    oom_floor: int | None,
    read_profile: ReadProfile,
) -> dict[str, Any]:
    """The body of ``POST /containers/create`` for a sandbox.

    Args:
        config: checked by :func:`check_sandbox_config`.
        image: the pause image.
        runtime: an OCI runtime of the engine; empty takes its default.
        engine_network_mode: for a pod that is not on the host's network.
        publish_ports: whether the engine publishes the host ports itself (no-op plugin).
        cgroup_driver: the engine's.
        oom_floor: the lowest oom_score_adj that it can give; None for no limit.
        read_profile: reads localhost seccomp profiles.

    Raises:
        ServiceError: a setting that cannot be applied.
    """
    subject = pod_subject(config.metadata)
    context = config.linux.security_context
    user, security = sandbox_security(context, read_profile, subject)
    modes = sandbox_modes(context.namespace_options, engine_network_mode, subject)
    on_host_network = modes["NetworkMode"] == "host"
    host_config: dict[str, Any] = {
        **modes,
        **security,
        "CgroupParent": cgroup_parent(config.linux.cgroup_parent, cgroup_driver),
        "CpuShares": _CPU_SHARES,
        "MemorySwap": 0,
        "OomScoreAdj": clamp_oom_score(_OOM_SCORE, oom_floor),
        "ShmSize": _SHM_BYTES,
        "Sysctls": dict(config.linux.sysctls),
        "RestartPolicy": {"Name": "no"},
    }
    if runtime:
        host_config["Runtime"] = runtime
    body: dict[str, Any] = {
        "Image": image,
        "User": user,
        "Labels": sandbox_labels(config.labels, config.annotations),
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host_config,
    }
    if not on_host_network:
        body["Hostname"] = config.hostname
        if publish_ports:
            exposed, bindings = _published(config.port_mappings)
            body["ExposedPorts"], host_config["PortBindings"] = exposed, bindings
    return body


def _published(ports: Any) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    exposed: dict[str, Any] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        if port.host_port == 0:
            continue
        key = f"{port.container_port}/{_PROTOCOLS[port.protocol]}"
        exposed[key] = {}
        bindings.setdefault(key, []).append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
    return exposed, bindings


def sandbox_checkpoint(config: cri.PodSandboxConfig, runtime_handler: str) -> Checkpoint:
    """The checkpoint of a sandbox that was just created: not complete yet."""
    ports = tuple(
        CheckpointPort(_PROTOCOLS[port.protocol], port.container_port, port.host_port, port.host_ip) for port in config.port_mappings
    )
    return Checkpoint(
        name=config.metadata.name,
        namespace=config.metadata.namespace,
        port_mappings=ports,
        host_network=config.linux.security_context.namespace_options.network == cri.NODE,
        complete=False,
        runtime_handler=runtime_handler,
        uid=config.metadata.uid,
        attempt=config.metadata.attempt,
    )


def resolv_conf(dns: cri.DNSConfig) -> str:
    """The pod's resolv.conf: every server, one search line, one options line."""
    lines = [f"nameserver {server}" for server in dns.servers]
    if dns.searches:
        lines.append("search " + " ".join(dns.searches))
    if dns.options:
        lines.append("options " + " ".join(dns.options))
    return "".join(line + "\n" for line in lines)
