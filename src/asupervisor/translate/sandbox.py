"""A CRI sandbox as the engine container that holds its namespaces."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.annotations import runtime_annotations, sandbox_annotations
from asupervisor.translate.checkpoint import Checkpoint, CheckpointPort
from asupervisor.translate.engine_facts import EngineFacts
from asupervisor.translate.labels import check_labels, sandbox_labels
from asupervisor.translate.names import SANDBOX_CONTAINER_NAME, container_name
from asupervisor.translate.namespaces import HOST, needs_host_users, sandbox_modes
from asupervisor.translate.resources import cgroup_parent, clamp_oom_score
from asupervisor.translate.security import sandbox_security

DEFAULT_HANDLERS = ("", "docker")
"""Runtime handlers that mean the engine's default runtime."""
STOP_GRACE_S = 10
"""Seconds between SIGTERM and SIGKILL for a sandbox's own process."""
_CPU_SHARES = 2
_OOM_SCORE = -998
_SHM_BYTES = 64 << 20
_IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
"""Beginnings of the settings that belong to the ipc namespace, kernel.shm_rmid_forced and
kernel.msg_next_id included.
"""
_HOSTNAME_BYTES = 64
"""Linux' HOST_NAME_MAX."""
_PROTOCOLS = {cri.TCP: "tcp", cri.UDP: "udp", cri.SCTP: "sctp"}


def pod_subject(metadata: cri.PodSandboxMetadata) -> str:
    """What errors and logs call a pod: ``pod namespace/name``."""
    return f"pod {metadata.namespace}/{metadata.name}"


def check_sandbox_config(config: cri.PodSandboxConfig) -> None:
    """Refuse a config that cannot be run, before anything is created for it.

    Raises:
        InvalidArgument: it names the field.
    """
    metadata = config.metadata
    if not (metadata.name and metadata.namespace and metadata.uid):
        raise InvalidArgument(
            "the sandbox config needs metadata with name, namespace and uid (name"
            f' "{metadata.name}", namespace "{metadata.namespace}", uid "{metadata.uid}")'
        )
    subject = pod_subject(metadata)
    if config.HasField("windows"):
        raise InvalidArgument(
            f"{subject}: this node runs Linux; the windows config cannot be applied"
        )
    check_labels(config.labels, subject, of_sandbox=True)
    check_sysctls(config.linux, subject)
    if config.log_directory and not config.log_directory.startswith("/"):
        raise InvalidArgument(f'{subject}: log_directory "{config.log_directory}" must be absolute')
    if len(config.hostname.encode()) > _HOSTNAME_BYTES:
        raise InvalidArgument(
            f'{subject}: the hostname "{config.hostname}" is longer than {_HOSTNAME_BYTES} bytes'
        )
    _check_ports(config.port_mappings, subject)
    for server in config.dns_config.servers:
        if not is_address(server):
            raise InvalidArgument(f'{subject}: DNS server "{server}" is not an IP address')
    _check_words(config, subject)


def _check_ports(ports: Iterable[cri.PortMapping], subject: str) -> None:
    for port in ports:
        if not 0 < port.container_port < 65536 or not 0 <= port.host_port < 65536:
            raise InvalidArgument(
                f"{subject}: port mapping {port.host_port}:{port.container_port} is not between 1"
                " and 65535"
            )
        if port.protocol not in _PROTOCOLS:
            raise InvalidArgument(
                f"{subject}: port mapping {port.host_port}:{port.container_port} has an unknown"
                " protocol"
            )
        if port.host_ip and ("%" in port.host_ip or not is_address(port.host_ip)):
            raise InvalidArgument(
                f'{subject}: host_ip "{port.host_ip}" of a port mapping is not an IP address'
            )


def _check_words(config: cri.PodSandboxConfig, subject: str) -> None:
    metadata = config.metadata
    for what, words in (
        ("DNS search domain", config.dns_config.searches),
        ("DNS option", config.dns_config.options),
        ("hostname", [config.hostname] if config.hostname else []),
        ("sysctl", config.linux.sysctls),
        ("name", [metadata.name]),
        ("namespace", [metadata.namespace]),
        ("uid", [metadata.uid]),
    ):
        for word in words:
            if not is_word(word):
                raise InvalidArgument(f'{subject}: the {what} "{word}" is not one word')
    for what, word in (
        ("name", metadata.name),
        ("namespace", metadata.namespace),
        ("uid", metadata.uid),
    ):
        if ";" in word:
            raise InvalidArgument(
                f'{subject}: the {what} "{word}" holds a semicolon, which ends an argument of a'
                " network plugin"
            )


def is_address(text: str) -> bool:
    """Whether a text is an IP address, an IPv6 one perhaps with its zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    # A zone may be any text.
    return is_word(text)


def is_word(text: str) -> bool:
    """Whether a text can be one word in a line of a file."""
    return bool(text) and text.isprintable() and text.split() == [text]


def check_sysctls(linux: cri.LinuxPodSandboxConfig, subject: str) -> None:
    """Refuse kernel settings that are not the pod's own: the runtime would fail on them in the
    middle of the start.

    Raises:
        InvalidArgument: one of a namespace that the pod shares with the host, or of none at all.
    """
    options = linux.security_context.namespace_options
    for name in linux.sysctls:
        if "/" in name and not {"", ".", ".."}.isdisjoint(name.split("/")):
            raise InvalidArgument(f'{subject}: sysctl "{name}" is not the name of a kernel setting')
        if name.startswith("net."):
            shared = options.network == cri.NODE and "network"
        elif name.startswith(_IPC_SYSCTLS):
            shared = options.ipc == cri.NODE and "ipc"
        elif name in ("kernel.domainname", "kernel.hostname"):
            raise InvalidArgument(
                f"{subject}: sysctl {name}: the hostname of a pod is set by its config"
            )
        else:
            raise InvalidArgument(
                f"{subject}: sysctl {name} is not namespaced, so a pod cannot have its own"
            )
        if shared:
            raise InvalidArgument(
                f"{subject}: sysctl {name} is the host's own, since the pod shares the host's"
                f" {shared} namespace"
            )


def sandbox_name(metadata: cri.PodSandboxMetadata) -> str:
    """The engine container's name."""
    return container_name(
        SANDBOX_CONTAINER_NAME, metadata.name, metadata.namespace, metadata.uid, metadata.attempt
    )


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """What is made of a request for a sandbox.

    Args:
        subject: names the pod in errors.
        name: the engine container's.
        body: of ``POST /containers/create``.
        checkpoint: of the sandbox right after it was created; it says whether the pod is on the
            host's network.
        resolv_conf: the content of the pod's own; None where it keeps what the engine wrote.
    """

    subject: str
    name: str
    body: dict[str, Any]
    checkpoint: Checkpoint
    resolv_conf: str | None


def plan_sandbox(  # long: one field after the other
    request: cri.RunPodSandboxRequest,
    *,
    image: str,
    engine_network_mode: str,
    publish_ports: bool,
    facts: EngineFacts,
    profile: bytes,
) -> SandboxPlan:
    """Plan a sandbox.

    Args:
        request: its config checked by :func:`check_sandbox_config`; it is not changed.
        image: the pause image.
        engine_network_mode: for a pod that is not on the host's network.
        publish_ports: whether the engine publishes the host ports itself (no-op plugin).
        facts: of the engine.
        profile: the content of its Localhost seccomp profile.

    Raises:
        ServiceError: a setting that cannot be applied.
    """
    config = request.config
    subject = pod_subject(config.metadata)
    context = config.linux.security_context
    apparmor = "apparmor" in facts.security
    user, security = sandbox_security(context, profile, apparmor, subject)
    handler = request.runtime_handler
    runtime = "" if handler in DEFAULT_HANDLERS else handler
    modes = sandbox_modes(context.namespace_options, engine_network_mode, subject)
    on_host_network = modes["NetworkMode"] == "host"
    host_config: dict[str, Any] = {
        **modes,
        **security,
        "CgroupParent": cgroup_parent(config.linux.cgroup_parent, facts.cgroup_driver),
        "CpuShares": _CPU_SHARES,
        "MemorySwap": 0,
        "OomScoreAdj": clamp_oom_score(_OOM_SCORE, facts.oom_floor),
        "ShmSize": _SHM_BYTES,
        "Sysctls": dict(config.linux.sysctls),
        "RestartPolicy": {"Name": "no"},
        **runtime_annotations(
            facts, runtime, sandbox_annotations(config.metadata), config.annotations
        ),
    }
    needs_host = needs_host_users(context.namespace_options, context.privileged)
    if needs_host and "userns" in facts.security:
        host_config["UsernsMode"] = HOST
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
    return SandboxPlan(
        subject=subject,
        name=sandbox_name(config.metadata),
        body=body,
        checkpoint=sandbox_checkpoint(config, handler),
        resolv_conf=resolv_conf(config.dns_config) if config.HasField("dns_config") else None,
    )


def _published(ports: Any) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    exposed: dict[str, Any] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        if port.host_port == 0:
            continue
        key = f"{port.container_port}/{_PROTOCOLS[port.protocol]}"
        exposed[key] = {}
        bindings.setdefault(key, []).append(
            {"HostIp": port.host_ip, "HostPort": str(port.host_port)}
        )
    return exposed, bindings


def sandbox_checkpoint(config: cri.PodSandboxConfig, runtime_handler: str) -> Checkpoint:
    """The checkpoint of a sandbox that was just created: not complete yet."""
    ports = tuple(
        CheckpointPort(_PROTOCOLS[port.protocol], port.container_port, port.host_port, port.host_ip)
        for port in config.port_mappings
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
        extra=recorded_extra(config),
    )


def recorded_extra(config: cri.PodSandboxConfig) -> dict[str, Any]:
    """What the engine container does not show of the request: the pod's resources and overhead, and
    how its pid namespace was asked for.
    """
    extra: dict[str, Any] = {}
    if config.linux.HasField("resources"):
        extra["resources"] = resources_document(config.linux.resources)
    if config.linux.HasField("overhead"):
        extra["overhead"] = resources_document(config.linux.overhead)
    if config.linux.security_context.namespace_options.pid == cri.POD:
        extra["pid"] = "POD"
    return extra


def resources_document(resources: cri.LinuxContainerResources) -> dict[str, Any]:
    """Resources as JSON, by the CRI's own field names; those at zero are left out."""
    document: dict[str, Any] = MessageToDict(resources, preserving_proto_field_name=True)
    return document


def resolv_conf(dns: cri.DNSConfig) -> str:
    """The pod's resolv.conf: every server, one search line, one options line."""
    lines = [f"nameserver {server}" for server in dns.servers]
    if dns.searches:
        lines.append("search " + " ".join(dns.searches))
    if dns.options:
        lines.append("options " + " ".join(dns.options))
    return "".join(line + "\n" for line in lines)
