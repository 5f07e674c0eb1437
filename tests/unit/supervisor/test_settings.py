"""What kubelet decided before the first service started: endpoints, the kind of runtime, where
stats come from.
"""

from __future__ import annotations

import pytest

from asupervisor.cli.flags import parse_arguments
from asupervisor.config import Config, NetworkConfig, StreamingConfig, uses_legacy_cadvisor_stats
from asupervisor.errors import ConfigError


def test_an_empty_image_endpoint_is_the_runtime_endpoint() -> None:
    assert Config(runtime_endpoint="unix:///a.sock").effective_image_endpoint == "unix:///a.sock"
    assert (
        Config(
            runtime_endpoint="unix:///a.sock", image_endpoint="unix:///b.sock"
        ).effective_image_endpoint
        == "unix:///b.sock"
    )


def test_every_network_setting_reaches_the_plugin() -> None:
    config = parse_arguments(
        [
            *(
                "--network-plugin",
                "cni",
                "--cni-conf-dir",
                "/etc/cni/a",
                "--cni-bin-dir",
                "/opt/a, /opt/b",
                "--cni-cache-dir",
                "/var/a",
            ),
            *(
                "--network-plugin-mtu",
                "1400",
                "--hairpin-mode",
                "hairpin-veth",
                "--non-masquerade-cidr",
                "10.1.0.0/16",
            ),
            *("--pod-cidr", "10.2.0.0/24,fd00::/64"),
        ],
        {},
    )
    assert config.network == NetworkConfig(
        plugin="cni",
        cni_conf_dir="/etc/cni/a",
        cni_bin_dirs=("/opt/a", "/opt/b"),
        cni_cache_dir="/var/a",
        mtu=1400,
        hairpin_mode="hairpin-veth",
        non_masquerade_cidr="10.1.0.0/16",
        pod_cidr="10.2.0.0/24,fd00::/64",
    )


def test_streaming_is_local_unless_it_is_redirected() -> None:
    assert not parse_arguments([], {}).streaming.redirect
    assert parse_arguments(["--redirect-container-streaming"], {}).streaming.redirect
    assert parse_arguments(
        ["--streaming-bind-addr", "127.0.0.1:4000"], {}
    ).streaming == StreamingConfig(bind_port=4000)


@pytest.mark.parametrize("name", ["", "rkt", "Docker", "docker "])
def test_any_other_runtime_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f'unsupported CRI runtime: "{name}"'):
        Config(container_runtime=name)


@pytest.mark.parametrize(
    ("runtime", "endpoint", "platform", "legacy"),
    [
        ("docker", "unix:///var/run/asupervisor.sock", "linux", True),
        ("docker", "unix:///var/run/asupervisor.sock", "win32", False),
        ("remote", "unix:///var/run/crio/crio.sock", "linux", True),
        ("remote", "/var/run/crio/crio.sock", "linux", True),
        ("remote", "unix:///run/containerd/containerd.sock", "linux", False),
        ("remote", "unix:///run/crio/crio.sock", "linux", False),
    ],
)
def test_where_kubelet_takes_container_stats_from(
    runtime: str, endpoint: str, platform: str, legacy: bool
) -> None:
    assert uses_legacy_cadvisor_stats(runtime, endpoint, platform) is legacy
