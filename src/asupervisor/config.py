"""Every setting of the service, frozen, one unit per field name (``…_s`` seconds, ``…_bytes``
bytes).

A :class:`Config` is built by an embedding program directly, or by the command line from a file, the
environment and flags, the later winning over the earlier. It is checked when it is made, without
touching the node."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from asupervisor.addresses import RUNTIME_ENDPOINT
from asupervisor.errors import ConfigError

__all__ = [
    "EMBEDDED_PAUSE_IMAGE",
    "MANAGED_ENGINE",
    "Config",
    "NetworkConfig",
    "NriConfig",
    "StreamingConfig",
]

EMBEDDED_PAUSE_IMAGE = "embedded"
"""Value of ``pod_infra_container_image`` that chooses the pause image which the package brings."""

MANAGED_ENGINE = "managed"
"""Value of ``docker_endpoint`` that runs a ``dockerd`` of the service's own."""

NETWORK_PLUGINS = ("cni", "kubenet", "no-op", "")
HAIRPIN_MODES = ("promiscuous-bridge", "hairpin-veth", "none")
CGROUP_DRIVERS = ("", "cgroupfs", "systemd")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
CONTAINER_LOG_FORMATS = ("cri", "docker")
NRI_REJECTIONS = (
    "hooks",
    "runtime-default-seccomp",
    "unconfined-seccomp",
    "custom-seccomp",
    "namespaces",
    "sysctls",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """What the network plugin is told, as kubelet's NetworkPluginSettings had it."""

    plugin: str = "cni"
    """``cni``, ``kubenet``, ``no-op`` or empty (the same as ``no-op``)."""
    cni_conf_dir: str = "/etc/cni/net.d"
    cni_bin_dirs: tuple[str, ...] = ("/opt/cni/bin",)
    cni_cache_dir: str = "/var/lib/cni/cache"
    mtu: int = 0
    """Bytes; 0 lets the plugin find it."""
    hairpin_mode: str = "none"
    non_masquerade_cidr: str = "10.0.0.0/8"
    pod_cidr: str = ""
    """One CIDR for each address family, by comma; empty until UpdateRuntimeConfig gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingConfig:
    """Where exec, attach and port-forward are served."""

    bind_host: str = "127.0.0.1"
    bind_port: int = 0
    """0 lets the system choose."""
    redirect: bool = False
    """The embedding program serves the streams itself, with the handler that it is given."""
    tls_cert_file: str = ""
    tls_private_key_file: str = ""
    idle_timeout_s: float = 4 * 3600.0
    """A session that carries nothing for longer is closed; 0: none is."""
    creation_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NriConfig:
    """The Node Resource Interface: plugins that see and shape containers. The defaults are
    containerd's.
    """

    disable: bool = False
    socket_path: str = "/var/run/nri/nri.sock"
    """Where plugins connect by themselves."""
    disable_connections: bool = False
    """No plugin may connect by itself; those of ``plugin_path`` are started all the same."""
    plugin_path: str = "/opt/nri/plugins"
    """Programs named ``10-name``, which are started with the service."""
    plugin_config_path: str = "/etc/nri/conf.d"
    """``10-name.conf`` or ``name.conf``: what such a program is configured with."""
    registration_timeout_s: float = 5.0
    request_timeout_s: float = 2.0
    validate: bool = False
    """Whether the rules below, and a pod's annotation of required plugins, are enforced."""
    reject: tuple[str, ...] = ()
    """Kinds of adjustments that no plugin may make; with any, the rules are enforced."""
    required_plugins: tuple[str, ...] = ()
    """Plugins without which no container is created; with any, the rules are enforced."""
    tolerate_missing_annotation: str = ""
    """Key of an annotation of pods that do not need the required ones."""

    def __post_init__(self) -> None:
        for kind in self.reject:
            _one_of("--nri-reject", kind, NRI_REJECTIONS)
        if self.disable and self.validates:
            raise ConfigError("--nri-disable is given together with rules for NRI plugins")
        if not self.socket_path.startswith("/"):
            raise ConfigError(f'--nri-socket-path: "{self.socket_path}" is not absolute')
        _above_zero("--nri-plugin-registration-timeout", self.registration_timeout_s)
        _above_zero("--nri-plugin-request-timeout", self.request_timeout_s)

    @property
    def validates(self) -> bool:
        """Whether the rules are enforced."""
        return self.validate or bool(self.reject or self.required_plugins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one supervisor.

    Raises:
        ConfigError: a value is malformed or contradicts another; the message names the flag.
    """

    container_runtime: str = "docker"
    """``docker`` hosts the dockershim; ``remote`` connects to another program's CRI server."""
    runtime_endpoint: str = RUNTIME_ENDPOINT
    image_endpoint: str = ""
    """Empty means the runtime endpoint."""
    docker_endpoint: str = ""
    """``unix://…`` or ``tcp://…``; empty means ``DOCKER_HOST``, else the usual socket; ``managed``
    runs an engine of our own.
    """
    root_directory: str = "/var/lib/cri-dockerd"
    pod_infra_container_image: str = "registry.k8s.io/pause:3.10"
    runtime_cgroups: str = ""
    cgroup_driver: str = ""
    """``cgroupfs`` or ``systemd``: must be the engine's; empty takes the engine's."""
    runtime_request_timeout_s: float = 120.0
    image_pull_progress_deadline_s: float = 60.0
    shutdown_grace_s: float = 30.0
    engine_probe_interval_s: float = 0.75
    engine_probe_deadline_s: float = 1.0
    engine_connect_deadline_s: float = 10.0
    metrics_bind_address: str = ""
    """``host:port`` for Prometheus, health and debug; empty serves none."""
    tracing_endpoint: str = ""
    """``host:port`` of an OTLP collector (gRPC) for OpenTelemetry traces; empty traces nothing."""
    container_log_format: str = "cri"
    runtime_annotations: tuple[str, ...] = ()
    """Keys of pod and container annotations that the OCI runtime is given; ``beginning*`` stands
    for every key that begins so.
    """
    log_level: str = "info"
    log_format: str = "text"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    streaming: StreamingConfig = field(default_factory=StreamingConfig)
    nri: NriConfig = field(default_factory=NriConfig)

    def __post_init__(self) -> None:
        _one_of("--network-plugin", self.network.plugin, NETWORK_PLUGINS)
        _one_of("--hairpin-mode", self.network.hairpin_mode, HAIRPIN_MODES)
        _one_of("--cgroup-driver", self.cgroup_driver, CGROUP_DRIVERS)
        _one_of("--log-format", self.log_format, LOG_FORMATS)
        _one_of("--log-level", self.log_level, LOG_LEVELS)
        _one_of("--container-log-format", self.container_log_format, CONTAINER_LOG_FORMATS)
        if self.container_runtime not in ("docker", "remote"):
            raise ConfigError(f'unsupported CRI runtime: "{self.container_runtime}"')
        if not self.runtime_endpoint:
            raise ConfigError("--container-runtime-endpoint is empty; give it a unix:// address")
        if self.container_runtime == "docker" and not self.runtime_endpoint.startswith(
            ("unix://", "fd://", "/")
        ):
            raise ConfigError(
                f'--container-runtime-endpoint: "{self.runtime_endpoint}" is not a unix:// or fd://'
                " address"
            )
        if self.network.mtu < 0 or self.network.mtu > 65535:
            raise ConfigError(
                f"--network-plugin-mtu: {self.network.mtu} is not between 0 and 65535 bytes"
            )
        for cidr in self.network.non_masquerade_cidr.split(","):
            _cidr("--non-masquerade-cidr", cidr)
        for cidr in filter(None, self.network.pod_cidr.split(",")):
            _cidr("--pod-cidr", cidr)
        if bool(self.streaming.tls_cert_file) != bool(self.streaming.tls_private_key_file):
            raise ConfigError(
                "--streaming-tls-cert-file and --streaming-tls-private-key-file are given together"
                " or not at all"
            )
        _above_zero("--runtime-request-timeout", self.runtime_request_timeout_s)
        _above_zero("--image-pull-progress-deadline", self.image_pull_progress_deadline_s)

    @property
    def effective_image_endpoint(self) -> str:
        """The image endpoint: the runtime endpoint where none is given, as kubelet does it."""
        return self.image_endpoint or self.runtime_endpoint


def uses_legacy_cadvisor_stats(
    container_runtime: str, runtime_endpoint: str, platform: str = "linux"
) -> bool:
    """Whether kubelet must take container stats from cAdvisor instead of from the CRI.

    True for docker on Linux, and for CRI-O's socket in the two spellings that kubelet knows.

    Args:
        container_runtime: ``docker`` or ``remote``.
        runtime_endpoint: the CRI endpoint.
        platform: ``sys.platform`` of the node.
    """
    if container_runtime == "docker":
        return platform == "linux"
    return runtime_endpoint in ("/var/run/crio/crio.sock", "unix:///var/run/crio/crio.sock")


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        names = ", ".join(f'"{name}"' for name in allowed)
        raise ConfigError(f'{flag}: "{value}" is not one of {names}')


def _above_zero(flag: str, seconds: float) -> None:
    if seconds <= 0:
        raise ConfigError(f"{flag}: must be longer than 0")


def _cidr(flag: str, text: str) -> None:
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise ConfigError(f'{flag}: "{text}" is not a CIDR ({error})') from error
