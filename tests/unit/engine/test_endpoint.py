"""Where the engine is looked for, and what an operator is told when nobody answers there."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from asupervisor.engine import endpoint as room
from asupervisor.engine.endpoint import diagnose, oom_score_floor, peer_process, resolve_endpoint
from asupervisor.errors import ConfigError


@pytest.mark.parametrize(
    ("configured", "docker_host", "resolved"),
    [
        ("", "", "unix:///var/run/docker.sock"),
        ("", "unix:///run/user/1/docker.sock", "unix:///run/user/1/docker.sock"),
        ("unix:///a.sock", "unix:///b.sock", "unix:///a.sock"),
        ("/a.sock", "", "unix:///a.sock"),
        ("tcp://127.0.0.1:2375", "", "tcp://127.0.0.1:2375"),
    ],
)
def test_the_flag_wins_over_docker_host_and_that_over_the_usual_socket(
    configured: str, docker_host: str, resolved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    assert resolve_endpoint(configured) == resolved


def test_a_scheme_that_no_engine_speaks_is_refused() -> None:
    with pytest.raises(ConfigError, match="--docker-endpoint"):
        resolve_endpoint("carrier-pigeon://loft")


def test_what_is_wrong_is_told_apart_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docker.sock"
    endpoint = f"unix://{path}"
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    reason, advice = diagnose(endpoint)
    assert reason == "EngineNotInstalled" and "install Docker Engine" in advice
    monkeypatch.setattr(shutil, "which", lambda name, **_: "/usr/bin/dockerd")
    reason, advice = diagnose(endpoint)
    assert reason == "EngineNotRunning" and "start it" in advice and str(path) in advice
    path.write_text("")
    reason, advice = diagnose(endpoint)
    assert reason == "EngineUnreachable" and "is not a socket" in advice
    assert diagnose("tcp://127.0.0.1:1")[0] == "EngineUnreachable"


def test_who_listens_is_asked_of_the_kernel(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert peer_process(f"unix://{tmp_path}/s") == os.getpid()
    assert peer_process(f"unix://{tmp_path}/s") is None
    assert peer_process(f"unix://{tmp_path}/none") is None
    assert peer_process("tcp://127.0.0.1:1") is None


@pytest.mark.parametrize(
    ("capabilities", "uid_map", "own_score", "floor"),
    [
        (1 << 24, "0 0 4294967295", 0, None),
        (1 << 24, "0 0 4294967295", -500, None),
        (0, "0 0 4294967295", 0, 0),
        (0, "0 0 4294967295", 200, 200),
        (1 << 24, "0 1000 1", 0, 0),
    ],
    ids=[
        "may lower",
        "may lower, lowered",
        "no capability",
        "no capability, raised",
        "user namespace",
    ],
)
def test_the_lowest_score_that_the_engine_can_give(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: int,
    uid_map: str,
    own_score: int,
    floor: int | None,
) -> None:
    process = tmp_path / "proc"
    process.mkdir()
    (process / "status").write_text(f"Name:\tdockerd\nCapEff:\t{capabilities:016x}\n")
    (process / "uid_map").write_text(uid_map.replace(" ", "          ") + "\n")
    (process / "oom_score_adj").write_text(f"{own_score}\n")
    monkeypatch.setattr(room, "peer_process", lambda endpoint: None)
    monkeypatch.setattr(room, "Path", lambda path: process if path == "/proc/self" else Path(path))
    assert oom_score_floor("unix:///docker.sock") == floor
