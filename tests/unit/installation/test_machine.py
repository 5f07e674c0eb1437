"""``asupervisor install`` and ``uninstall`` into a directory that stands for a machine."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from asupervisor.cli.dispatch import dispatch
from asupervisor.cli.flags import FLAGS
from asupervisor.errors import ConfigError, FailedPrecondition
from asupervisor.installation.files import UNITS, defaults, unit
from asupervisor.installation.machine import Machine

needs_systemctl = pytest.mark.skipif(
    shutil.which("systemctl") is None, reason="systemctl is not here"
)


def files_of(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


@needs_systemctl
def test_what_is_installed_is_enabled_and_can_be_removed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["install", "--root", str(tmp_path)]) == 0
    found = files_of(tmp_path)
    for name in UNITS:
        assert f"etc/systemd/system/{name}" in found
    assert "etc/systemd/system/multi-user.target.wants/asupervisor.service" in found
    assert "etc/systemd/system/sockets.target.wants/asupervisor.socket" in found
    assert "etc/default/asupervisor" in found
    assert "usr/local/share/man/man8/asupervisor-doctor.8" in found
    assert "usr/local/share/bash-completion/completions/asupervisor" in found
    text = (tmp_path / "etc/systemd/system/asupervisor.service").read_text()
    (executable,) = re.findall(r"^ExecStart=(\S+) --", text, re.M)
    assert os.access(executable, os.X_OK)
    capsys.readouterr()

    assert dispatch(["uninstall", "--root", str(tmp_path)]) == 0
    assert files_of(tmp_path) == set()
    assert "pods keep running" in capsys.readouterr().out

    assert dispatch(["uninstall", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "there is nothing to remove\n"


@needs_systemctl
def test_edited_settings_are_neither_overwritten_nor_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["install", "--root", str(tmp_path)]) == 0
    settings = tmp_path / "etc/default/asupervisor"
    settings.write_text("ASUPERVISOR_NETWORK_PLUGIN=no-op\n")
    unit_file = tmp_path / "etc/systemd/system/asupervisor.service"
    unit_file.write_text("[Service]\nExecStart=/of/an/earlier/version\n")
    capsys.readouterr()

    assert dispatch(["install", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"left {settings} as it is" in said and f"wrote {unit_file}" in said
    assert settings.read_text() == "ASUPERVISOR_NETWORK_PLUGIN=no-op\n"
    assert "WatchdogSec" in unit_file.read_text()

    assert dispatch(["uninstall", "--root", str(tmp_path)]) == 0
    assert files_of(tmp_path) == {"etc/default/asupervisor"}


@pytest.mark.parametrize("directory", ["usr/lib/systemd/system", "lib/systemd/system"])
async def test_a_package_of_the_distribution_is_left_alone(tmp_path: Path, directory: str) -> None:
    (tmp_path / directory).mkdir(parents=True)
    (tmp_path / directory / "asupervisor.service").touch()
    for act in (Machine(str(tmp_path), 5).install, Machine(str(tmp_path), 5).uninstall):
        with pytest.raises(FailedPrecondition, match="apt remove asupervisor"):
            await act([])


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd runs here")
def test_without_systemd_it_says_so_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["install"]) == 1
    said = capsys.readouterr()
    assert "systemd does not run on this machine" in said.err and said.out == ""


def test_a_relative_root_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["install", "--root", "here"]) == 2
    assert "not an absolute path" in capsys.readouterr().err


@pytest.mark.parametrize("executable", ["/opt/a b/bin/x", "/opt/%n/x", "relative", '/opt/"x'])
def test_a_command_that_systemd_would_read_otherwise_is_refused(executable: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used in a unit file"):
        unit("asupervisor.service", executable)


def test_the_settings_name_flags_that_exist_and_set_where_plugins_are() -> None:
    named = re.findall(r"^(#?)ASUPERVISOR_([A-Z_]+)=", defaults(), re.M)
    names = {name.lower().replace("_", "-") for _, name in named}
    assert names <= {flag.name for flag in FLAGS}
    assert [name for mark, name in named if not mark] == ["CNI_BIN_DIR"]
