"""Where plugins come from: a defect or a taken socket is no reason for the service to end."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asupervisor.config import NriConfig
from asupervisor.errors import ConfigError
from asupervisor.nri.service import NriService


def settings(directory: Path, **changes: Any) -> NriConfig:
    return NriConfig(
        socket_path=f"{directory}/nri/nri.sock",
        plugin_path=f"{directory}/plugins",
        plugin_config_path=f"{directory}/conf.d",
        **changes,
    )


async def known() -> None:
    """What runs is known at once."""


def hold() -> Any:
    return lambda: None


def modes(path: str) -> list[int]:
    """Of the socket and its directory; nothing where it is not there."""
    paths = (Path(path), Path(path).parent)
    return [one.stat().st_mode & 0o777 for one in paths] if paths[0].exists() else []


def closed_at_once(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plugin:
        plugin.settimeout(20)
        plugin.connect(path)
        assert plugin.recv(1) == b""


async def test_a_defect_ends_one_connection_and_not_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def defect() -> Any:
        raise RuntimeError("a defect")

    config = settings(tmp_path)
    service = NriService(config, defect, known, hold)
    async with anyio.create_task_group() as tasks:
        await tasks.start(service.run)
        for _ in range(2):
            await anyio.to_thread.run_sync(closed_at_once, config.socket_path)
        tasks.cancel_scope.cancel()
    assert caplog.text.count("RuntimeError: a defect") == 2
    assert modes(config.socket_path) == []


async def test_only_root_enters_and_a_stale_socket_makes_way(tmp_path: Path) -> None:
    config = settings(tmp_path)
    for _ in range(2):
        service = NriService(config, Any, known, hold)  # type: ignore[arg-type]
        async with anyio.create_task_group() as tasks:
            await tasks.start(service.run)
            assert modes(config.socket_path) == [0o600, 0o700]
            tasks.cancel_scope.cancel()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
            stale.bind(config.socket_path)


async def test_a_socket_that_another_runtime_has_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(tmp_path)
    Path(config.socket_path).parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(config.socket_path)
        other.listen()
        with anyio.fail_after(20):
            await NriService(config, Any, known, hold).run()  # type: ignore[arg-type]
        assert "another runtime listens" in caplog.text
        assert modes(config.socket_path)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"reject": ("everything",)}, "--nri-reject"),
        ({"disable": True, "required_plugins": ("a",)}, "--nri-disable"),
        ({"request_timeout_s": 0.0}, "--nri-plugin-request-timeout"),
    ],
)
def test_settings_that_make_no_sense_name_their_flag(changes: dict[str, Any], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        NriConfig(**changes)
    with pytest.raises(ConfigError, match="--nri-socket-path"):
        NriConfig(socket_path="nri.sock")
