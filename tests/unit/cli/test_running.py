"""Whose settings ``doctor`` goes by where no service runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from asupervisor.cli.running import settings
from asupervisor.errors import ConfigError


def test_the_units_file_then_the_environment_then_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "default"
    file.write_text(
        "# settings\nASUPERVISOR_NETWORK_PLUGIN=kubenet\nOTHER=1\n"
        f'ASUPERVISOR_ROOT_DIRECTORY="{tmp_path}"\nASUPERVISOR_LOG_LEVEL=debug\n'
        "ASUPERVISOR_CONTAINER_RUNTIME_ENDPOINT=unix:///run/ours.sock\n"
    )
    environment = {"ASUPERVISOR_LOG_LEVEL": "error", "ASUPERVISOR_CGROUP_DRIVER": "systemd"}
    config = settings("", ["--cgroup-driver", "cgroupfs"], environment, str(file))
    assert config.network.plugin == "kubenet" and config.root_directory == str(tmp_path)
    assert config.log_level == "error" and config.cgroup_driver == "cgroupfs"
    assert config.runtime_endpoint == "unix:///run/ours.sock"
    named = settings("unix:///run/x.sock", [], {}, str(file))
    assert named.runtime_endpoint == "unix:///run/x.sock", "the one that is asked for"


def test_without_a_file(tmp_path: Path) -> None:
    flags = ["--container-runtime-endpoint", "fd://", "--root-directory", str(tmp_path)]
    config = settings("", flags, {}, str(tmp_path / "none"))
    assert config.runtime_endpoint == "unix:///var/run/asupervisor.sock", "systemd's usual place"


def test_somebody_elses_process_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "cri.sock"
    with socket.socket(socket.AF_UNIX) as somebody:
        somebody.bind(str(path))
        somebody.listen()
        config = settings(f"unix://{path}", ["--root-directory", str(tmp_path)], {}, "/none")
    assert config.network.plugin == "cni"


@pytest.mark.parametrize(
    "line", ["ASUPERVISOR_LOG_LEVEL=loud", 'ASUPERVISOR_LOG_LEVEL="'], ids=["value", "quote"]
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "default").write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=r"LOG_LEVEL|--log-level"):
        settings("", [], {}, str(tmp_path / "default"))
