"""From the command line, the environment and a KubeletConfiguration to settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asupervisor.cli.dispatch import dispatch
from asupervisor.cli.flags import FLAGS, parse_arguments
from asupervisor.config import Config
from asupervisor.errors import ConfigError

KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/from-file.sock
imageServiceEndpoint: unix:///run/images.sock
runtimeRequestTimeout: 3m
streamingConnectionIdleTimeout: 1h
hairpinMode: hairpin-veth
podCIDR: 10.1.0.0/24
cgroupDriver: systemd
evictionHard: {memory.available: 100Mi}
"""


@pytest.fixture
def kubelet_file(tmp_path: Path) -> str:
    path = tmp_path / "kubelet.yaml"
    path.write_text(KUBELET)
    return str(path)


def test_no_flag_gives_the_defaults() -> None:
    assert parse_arguments([], {}) == Config()


def test_every_flag_reaches_its_field() -> None:
    config = parse_arguments(
        [
            "--container-runtime-endpoint=unix:///run/a.sock",
            "--image-service-endpoint",
            "unix:///run/b.sock",
            "--docker-endpoint=managed",
            "--root-directory=/srv/asv",
            "--pod-infra-container-image=embedded",
            "--runtime-cgroups=/runtime",
            "--cgroup-driver=cgroupfs",
            "--network-plugin=kubenet",
            "--cni-conf-dir=/c",
            "--cni-bin-dir=/a, /b",
            "--cni-cache-dir=/d",
            "--network-plugin-mtu=1400",
            "--hairpin-mode=promiscuous-bridge",
            "--non-masquerade-cidr=10.0.0.0/8,fd00::/8",
            "--pod-cidr=10.1.0.0/24",
            "--runtime-request-timeout=1m30s",
            "--image-pull-progress-deadline=500ms",
            "--streaming-bind-addr=[::1]:1234",
            "--streaming-connection-idle-timeout=0",
            "--redirect-container-streaming",
            "--shutdown-grace=5s",
            "--log-level=debug",
            "--log-format=json",
        ],
        {},
    )
    assert config.effective_image_endpoint == "unix:///run/b.sock"
    assert (config.docker_endpoint, config.root_directory, config.runtime_cgroups) == (
        "managed",
        "/srv/asv",
        "/runtime",
    )
    assert (
        config.runtime_request_timeout_s,
        config.image_pull_progress_deadline_s,
        config.shutdown_grace_s,
    ) == (90.0, 0.5, 5.0)
    assert config.network.cni_bin_dirs == ("/a", "/b")
    assert (config.network.plugin, config.network.mtu, config.network.hairpin_mode) == (
        "kubenet",
        1400,
        "promiscuous-bridge",
    )
    assert (config.streaming.bind_host, config.streaming.bind_port, config.streaming.redirect) == (
        "::1",
        1234,
        True,
    )
    assert (config.log_level, config.log_format) == ("debug", "json")


def test_the_old_names_work() -> None:
    assert (
        parse_arguments(["--cri-dockerd-root-directory", "/var/lib/dockershim"], {}).root_directory
        == "/var/lib/dockershim"
    )


def test_a_request_timeout_of_0_means_what_it_meant() -> None:
    assert parse_arguments(["--runtime-request-timeout=0"], {}).runtime_request_timeout_s == 119.0


def test_flags_win_over_the_environment_and_that_over_the_file(kubelet_file: str) -> None:
    from_file = parse_arguments(["--config", kubelet_file], {})
    assert from_file.runtime_endpoint == "unix:///run/from-file.sock"
    assert from_file.image_endpoint == "unix:///run/images.sock"
    assert (from_file.runtime_request_timeout_s, from_file.streaming.idle_timeout_s) == (
        180.0,
        3600.0,
    )
    assert (
        from_file.network.hairpin_mode,
        from_file.network.pod_cidr,
        from_file.cgroup_driver,
    ) == (
        "hairpin-veth",
        "10.1.0.0/24",
        "systemd",
    )

    environment = {
        "ASUPERVISOR_CONTAINER_RUNTIME_ENDPOINT": "unix:///run/from-environment.sock",
        "ASUPERVISOR_CGROUP_DRIVER": "cgroupfs",
    }
    from_environment = parse_arguments(["--config", kubelet_file], environment)
    assert from_environment.runtime_endpoint == "unix:///run/from-environment.sock"
    assert from_environment.cgroup_driver == "cgroupfs"
    assert from_environment.image_endpoint == "unix:///run/images.sock"

    from_flag = parse_arguments(
        ["--config", kubelet_file, "--container-runtime-endpoint=unix:///run/from-flag.sock"],
        environment,
    )
    assert from_flag.runtime_endpoint == "unix:///run/from-flag.sock"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("kind: Pod", "is not a KubeletConfiguration"),
        ("a: [", "is not YAML"),
        (
            "kind: KubeletConfiguration\nruntimeRequestTimeout: soon",
            'runtimeRequestTimeout: "soon" is not a duration',
        ),
        ("kind: KubeletConfiguration\nhairpinMode: sideways", '--hairpin-mode: "sideways"'),
    ],
)
def test_a_bad_file_is_told_by_its_name(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "kubelet.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as told:
        parse_arguments(["--config", str(path)], {})
    assert complaint in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="/no/such/file cannot be read: No such file"):
        parse_arguments(["--config", "/no/such/file"], {})


BAD = [
    ["--no-such-flag"],
    ["--runtime-request-timeout", "5"],
    ["--runtime-request-timeout=-5s"],
    ["--image-pull-progress-deadline=0s"],
    ["--network-plugin=flannel"],
    ["--network-plugin-mtu=big"],
    ["--network-plugin-mtu=70000"],
    ["--hairpin-mode=maybe"],
    ["--cgroup-driver=cgroupv3"],
    ["--pod-cidr=10.0.0.0/33"],
    ["--non-masquerade-cidr=everything"],
    ["--streaming-bind-addr=localhost:99999"],
    ["--redirect-container-streaming=perhaps"],
    ["--streaming-tls-cert-file=/a"],
    ["--container-runtime=rkt"],
    ["--container-runtime-endpoint="],
    ["--container-runtime-endpoint=http://x"],
    ["--log-level=loud"],
    ["--log-format=xml"],
    ["--log-level"],
]


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_a_bad_value_is_one_line_that_names_it_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1 and said.err.startswith("asupervisor: ")
    name = arguments[0].partition("=")[0].removeprefix("--")
    assert name in said.err or "unsupported CRI runtime" in said.err


def test_help_names_every_flag_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--help"], {})
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for flag in FLAGS:
        assert re.search(rf"--{flag.name}\b[^(]*.*?\(default: [^)]+\)", text), flag.name
    assert "to the engine or another runtime, a duration; 0: 119s (default: 2m0s)" in text
    assert "MTU in bytes; 0: found by the plugin (default: 0)" in text
    assert "--root-directory" in text and "--cri-dockerd-root-directory" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--version"], {})
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("asupervisor ")
