"""The service's flags, under kubelet's and cri-dockerd's names, and how they become a
:class:`Config`.

File < environment < flags: a KubeletConfiguration gives the fields that it shares,
``ASUPERVISOR_<FLAG>`` overrides it, a flag overrides both."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from asupervisor import __version__
from asupervisor.addresses import parse_bind_address
from asupervisor.cli.flag import Flag, boolean, names, number, words
from asupervisor.config import (
    CGROUP_DRIVERS,
    HAIRPIN_MODES,
    LOG_FORMATS,
    LOG_LEVELS,
    NETWORK_PLUGINS,
    NRI_REJECTIONS,
    Config,
    NetworkConfig,
    NriConfig,
    StreamingConfig,
)
from asupervisor.durations import format_duration, parse_duration
from asupervisor.errors import ConfigError
from asupervisor.kubelet_config import read_kubelet_configuration

_ENVIRONMENT_PREFIX = "ASUPERVISOR_"


FLAGS = (
    Flag(
        "container-runtime",
        "container_runtime",
        "docker: host the dockershim; remote: only connect to the endpoints",
    ),
    Flag(
        "container-runtime-endpoint",
        "runtime_endpoint",
        "unix:// socket of the CRI server, or fd:// for systemd's socket activation",
        kubelet_field="containerRuntimeEndpoint",
    ),
    Flag(
        "image-service-endpoint",
        "image_endpoint",
        "unix:// socket of the image service; empty: the runtime endpoint",
        kubelet_field="imageServiceEndpoint",
    ),
    Flag(
        "docker-endpoint",
        "docker_endpoint",
        "the engine's socket; empty: DOCKER_HOST, else unix:///var/run/docker.sock; managed: a"
        " dockerd of the service's own",
    ),
    Flag(
        "root-directory",
        "root_directory",
        "directory of checkpoints and state",
        aliases=("cri-dockerd-root-directory",),
    ),
    Flag(
        "pod-infra-container-image",
        "pod_infra_container_image",
        "image of sandbox containers; embedded: the one of this package",
    ),
    Flag("runtime-cgroups", "runtime_cgroups", "cgroup to move the engine and this service into"),
    Flag(
        "cgroup-driver",
        "cgroup_driver",
        f"{names(CGROUP_DRIVERS)}; it must be the engine's; empty: take the engine's",
    ),
    Flag("network-plugin", "network.plugin", f"pod network: {names(NETWORK_PLUGINS)}"),
    Flag("cni-conf-dir", "network.cni_conf_dir", "directory of CNI configurations"),
    Flag(
        "cni-bin-dir",
        "network.cni_bin_dirs",
        "directories of CNI plugins, separated by commas",
        words,
    ),
    Flag("cni-cache-dir", "network.cni_cache_dir", "directory of CNI results"),
    Flag("network-plugin-mtu", "network.mtu", "MTU in bytes; 0: found by the plugin", number),
    Flag(
        "hairpin-mode",
        "network.hairpin_mode",
        f"how a pod reaches itself by a host port (kubenet): {names(HAIRPIN_MODES)}",
        kubelet_field="hairpinMode",
    ),
    Flag(
        "non-masquerade-cidr",
        "network.non_masquerade_cidr",
        "CIDRs, separated by commas; traffic to other addresses is masqueraded (kubenet)",
    ),
    Flag(
        "pod-cidr",
        "network.pod_cidr",
        "addresses of pods (kubenet), one CIDR for each family, separated by a comma",
        kubelet_field="podCIDR",
    ),
    Flag(
        "runtime-request-timeout",
        "runtime_request_timeout_s",
        "deadline of each request to the engine or another runtime, a duration; 0: 119s",
        lambda value, name: parse_duration(value, name) or 119.0,
        kubelet_field="runtimeRequestTimeout",
    ),
    Flag(
        "image-pull-progress-deadline",
        "image_pull_progress_deadline_s",
        "a pull without progress for longer is given up, a duration",
        parse_duration,
    ),
    Flag(
        "streaming-bind-addr",
        "streaming.bind",
        "host:port of exec, attach and port-forward; without host: loopback; port 0: a free one",
    ),
    Flag(
        "streaming-tls-cert-file",
        "streaming.tls_cert_file",
        "certificate of the streaming server (PEM)",
    ),
    Flag(
        "streaming-tls-private-key-file",
        "streaming.tls_private_key_file",
        "key of that certificate (PEM)",
    ),
    Flag(
        "streaming-connection-idle-timeout",
        "streaming.idle_timeout_s",
        "a stream that carries nothing for longer is closed, a duration; 0: none is",
        parse_duration,
        kubelet_field="streamingConnectionIdleTimeout",
    ),
    Flag(
        "redirect-container-streaming",
        "streaming.redirect",
        "the embedding program serves the streams itself",
        boolean,
        switch=True,
    ),
    Flag(
        "container-log-format",
        "container_log_format",
        "what is at a container's log path: cri: a log in the CRI's format; docker: a link to the"
        " engine's log",
    ),
    Flag(
        "runtime-annotations",
        "runtime_annotations",
        "annotations that the OCI runtime is given, separated by commas: key or beginning*",
        words,
    ),
    Flag(
        "nri-disable",
        "nri.disable",
        "no plugins of the Node Resource Interface",
        boolean,
        switch=True,
    ),
    Flag("nri-socket-path", "nri.socket_path", "socket to which NRI plugins connect"),
    Flag(
        "nri-disable-connections",
        "nri.disable_connections",
        "no NRI plugin may connect by itself",
        boolean,
        switch=True,
    ),
    Flag(
        "nri-plugin-path",
        "nri.plugin_path",
        "directory of NRI plugins that are started with the service",
    ),
    Flag(
        "nri-plugin-config-path",
        "nri.plugin_config_path",
        "directory of the configurations of these plugins, 10-name.conf or name.conf",
    ),
    Flag(
        "nri-plugin-registration-timeout",
        "nri.registration_timeout_s",
        "deadline for an NRI plugin to register, a duration",
        parse_duration,
    ),
    Flag(
        "nri-plugin-request-timeout",
        "nri.request_timeout_s",
        "deadline of an NRI plugin's answer, a duration; a plugin that misses it is dropped",
        parse_duration,
    ),
    Flag(
        "nri-default-validator",
        "nri.validate",
        "refuse a container whose required-plugins.noderesource.dev names a missing NRI plugin",
        boolean,
        switch=True,
    ),
    Flag(
        "nri-reject",
        "nri.reject",
        "adjustments that no NRI plugin may make, separated by commas: " + names(NRI_REJECTIONS),
        words,
    ),
    Flag(
        "nri-required-plugins",
        "nri.required_plugins",
        "NRI plugins without which no container is created, separated by commas",
        words,
    ),
    Flag(
        "nri-tolerate-missing-plugins-annotation",
        "nri.tolerate_missing_annotation",
        "key of an annotation of pods that do not need these plugins",
    ),
    Flag(
        "metrics-bind-addr",
        "metrics_bind_address",
        "host:port of status page, metrics and health; without host: loopback; empty: none",
    ),
    Flag(
        "tracing-endpoint",
        "tracing_endpoint",
        "host:port of an OTLP collector for OpenTelemetry traces; empty: none",
    ),
    Flag(
        "shutdown-grace",
        "shutdown_grace_s",
        "time for calls under way to finish when the service stops, a duration",
        parse_duration,
    ),
    Flag("log-level", "log_level", f"lowest level that is logged: {names(LOG_LEVELS)}"),
    Flag("log-format", "log_format", f"form of the log lines: {names(LOG_FORMATS)}"),
)


class _Parser(argparse.ArgumentParser):
    """Errors are one line, which the caller prints."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def service_parser() -> argparse.ArgumentParser:
    """The parser of the service's flags."""
    parser = _Parser(
        prog="asupervisor",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=40, width=120),
        description=(
            "The node service between Kubernetes and Docker: a CRI server over Docker Engine."
        ),
        epilog=(
            "Durations are written as in Go: 2m0s, 500ms, 1h. Every flag can be given as an"
            " environment variable too: ASUPERVISOR_ and the name in capitals, with _ for -. Client"
            " verbs: asupervisor help."
        ),
    )
    parser.add_argument("--version", action="version", version=f"asupervisor {__version__}")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="a KubeletConfiguration in YAML, for the fields that it shares with these flags",
    )
    parser.add_argument(
        "--config-dir",
        metavar="DIRECTORY",
        help="kubelet's drop-in configurations, *.conf, which override --config",
    )
    for flag in FLAGS:
        options: dict[str, Any] = {"nargs": "?", "const": "true"} if flag.switch else {}
        parser.add_argument(
            *(f"--{name}" for name in (flag.name, *flag.aliases)),
            dest=flag.name,
            metavar="VALUE",
            help=f"{flag.help} (default: {_default_text(flag)})",
            **options,
        )
    return parser


def _default_text(flag: Flag) -> str:
    value = _default(flag.field)
    if flag.field.endswith("_s"):
        return format_duration(value)
    if isinstance(value, tuple):
        return ",".join(value) or "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("%", "%%") or "empty"


def _default(field: str) -> Any:
    if field == "streaming.bind":
        return "127.0.0.1:0"
    part, _, rest = field.partition(".")
    if not rest:
        return Config.__dataclass_fields__[part].default
    owner: Any = {"network": NetworkConfig, "streaming": StreamingConfig, "nri": NriConfig}[part]
    return owner.__dataclass_fields__[rest].default


def parse_arguments(arguments: list[str], environment: Mapping[str, str] | None = None) -> Config:
    """Build the settings.

    Args:
        arguments: the command line without the program's name.
        environment: ``os.environ`` where None.

    Raises:
        ConfigError: an unknown flag, a bad value, a file that cannot be read; one line that names
            it.
        SystemExit: after ``--help`` and ``--version``, code 0.
    """
    environment = os.environ if environment is None else environment
    given = vars(service_parser().parse_args(arguments))
    values: dict[str, Any] = {}
    if given["config"] or given["config_dir"]:
        values.update(_from_kubelet(given["config"] or "", given["config_dir"] or ""))
    for flag in FLAGS:
        variable = _ENVIRONMENT_PREFIX + flag.name.replace("-", "_").upper()
        if variable in environment:
            values[flag.field] = flag.parse(environment[variable], variable)
        if given[flag.name] is not None:
            values[flag.field] = flag.parse(given[flag.name], f"--{flag.name}")
    return _assemble(values)


def _assemble(values: dict[str, Any]) -> Config:
    parts: dict[str, dict[str, Any]] = {"": {}, "network": {}, "streaming": {}, "nri": {}}
    for field, value in values.items():
        if field == "streaming.bind":
            host, port = parse_bind_address(value, "--streaming-bind-addr", default_port=0)
            parts["streaming"] |= {"bind_host": host, "bind_port": port}
            continue
        part, _, rest = field.rpartition(".")
        parts[part][rest] = value
    return Config(
        **parts[""],
        network=NetworkConfig(**parts["network"]),
        streaming=StreamingConfig(**parts["streaming"]),
        nri=NriConfig(**parts["nri"]),
    )


def _from_kubelet(path: str, directory: str) -> dict[str, Any]:
    flag = "--config-dir" if directory and not path else "--config"
    try:
        document = read_kubelet_configuration(path, directory)
    except OSError as error:
        place = error.filename or path or directory
        raise ConfigError(f"{flag}: {place} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{flag}: {error}") from error
    found: dict[str, Any] = {}
    for one in FLAGS:
        if one.kubelet_field and document.get(one.kubelet_field) not in (None, ""):
            where = f"{flag}: {path or directory}: {one.kubelet_field}"
            found[one.field] = one.parse(str(document[one.kubelet_field]), where)
    if document.get("cgroupDriver"):
        found["cgroup_driver"] = str(document["cgroupDriver"])
    return found
