"""kubelet's configuration and its drop-ins, as kubelet lays them over each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.cli.flags import parse_arguments
from asupervisor.errors import ConfigError
from asupervisor.kubelet_config import read_kubelet_configuration

KIND = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "kubelet.conf.d"
    (place / "50-more").mkdir(parents=True)
    (place / "10-first.conf").write_text(f"{KIND}podCIDR: 10.1.0.0/24\ncgroupDriver: systemd\n")
    (place / "50-more/a.conf").write_text(f"{KIND}podCIDR: 10.2.0.0/24\n")
    (place / "90-last.conf").write_text(
        f"{KIND}evictionHard: {{memory.available: 1Gi}}\nclusterDNS: [10.0.0.1]\n"
    )
    (place / "99-other.yaml").write_text("not read")
    return place


def test_each_is_laid_over_those_before_it(tmp_path: Path, directory: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"{KIND}podCIDR: 10.0.0.0/24\nclusterDNS: [10.9.9.9, 10.8.8.8]\n"
        "evictionHard: {memory.available: 100Mi, nodefs.available: 10%}\n"
    )
    found = read_kubelet_configuration(str(file), str(directory))
    assert found["podCIDR"] == "10.2.0.0/24" and found["cgroupDriver"] == "systemd"
    assert found["clusterDNS"] == ["10.0.0.1"]
    assert found["evictionHard"] == {"memory.available": "1Gi", "nodefs.available": "10%"}


def test_the_service_takes_them_too(directory: Path) -> None:
    config = parse_arguments(["--config-dir", str(directory)], {})
    assert config.network.pod_cidr == "10.2.0.0/24" and config.cgroup_driver == "systemd"


def test_one_that_is_none_is_named(directory: Path) -> None:
    (directory / "70-bad.conf").write_text("podCIDR: 10.3.0.0/24\n")
    with pytest.raises(ConfigError, match=r"--config-dir: .*70-bad\.conf is not a Kubelet"):
        parse_arguments(["--config-dir", str(directory)], {})


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config-dir: .*/missing cannot be read: No such"):
        parse_arguments(["--config-dir", str(tmp_path / "missing")], {})
