"""Faults of what NRI's plugins need."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from asupervisor.config import NriConfig
from asupervisor.doctor import nri
from asupervisor.doctor.finding import Level
from asupervisor.oci import RUNTIME
from asupervisor.oci.wrapper import install_wrapper
from tests.harness.made_node import MadeNode, assert_finds, only


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    node = MadeNode(tmp_path)
    node.config = {
        "root_directory": str(tmp_path / "root"),
        "nri": NriConfig(socket_path=f"{tmp_path}/nri/nri.sock"),
    }
    return node


async def runtime(made: MadeNode) -> Any:
    return only(await nri.runtime(made.node))


def test_the_socket_and_its_directory(made: MadeNode) -> None:
    assert_finds(only(nri.plugins(made.node)), Level.OK, "plugins connect to")
    directory = made.root / "nri"
    directory.mkdir(mode=0o700)
    assert_finds(only(nri.plugins(made.node)), Level.OK)
    directory.chmod(0o711)
    assert_finds(only(nri.plugins(made.node)), Level.ERROR, "mode 0711", "rights of root")
    directory.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/nri.sock")
        listener.listen()
        assert_finds(only(nri.plugins(made.node)), Level.WARNING, f"process {os.getpid()}")
        made.service_pid = os.getpid()
        assert_finds(only(nri.plugins(made.node)), Level.OK)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):  # a service would warn of such a plugin
            listener.accept()
    made.config["nri"] = NriConfig(disable=True)
    assert_finds(only(nri.plugins(made.node)), Level.OK, "no NRI plugin")


async def test_the_runtime_is_opt_in_and_can_run(
    made: MadeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_finds(await runtime(made), Level.OK, f"no runtime {RUNTIME}")
    path = Path(install_wrapper(tmp_path / "root").path)
    runc = made.write("bin/runc", "#!/bin/sh\n")
    runc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{runc.parent}:{os.environ['PATH']}")
    made.info |= {
        "DefaultRuntime": "runc",
        "Runtimes": {"runc": {"path": "runc"}, RUNTIME: {"path": str(path)}},
    }
    assert_finds(await runtime(made), Level.OK, "calls runc")
    path.parent.chmod(0o755)
    assert_finds(await runtime(made), Level.ERROR, "mode 0755")
    path.parent.chmod(0o700)
    script = made.node.text("root/oci/runtime")
    made.write("root/oci/runtime", script.replace("exec /", "exec /none/"))
    assert_finds(await runtime(made), Level.ERROR, "create ends with 127", "/none/")
    made.write("root/oci/runtime", "#!/bin/sh\nexit 3\n")
    assert_finds(await runtime(made), Level.ERROR, "--version ends with 3")
    made.info["Runtimes"][RUNTIME] = {"path": "/else"}
    finding = await runtime(made)
    assert_finds(finding, Level.ERROR, "cannot be used")
    assert str(path) in finding.remedy
    made.config["nri"] = NriConfig(disable=True)
    assert await nri.runtime(made.node) == []
