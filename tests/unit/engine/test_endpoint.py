"""Where the engine is looked for, and what an operator is told when nobody answers there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asupervisor.engine import endpoint as room
from asupervisor.engine.endpoint import (
    daemon_process,
    diagnose,
    is_daemon,
    oom_score_floor,
    resolve_endpoint,
)
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


_LISTEN = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"
_UNTIL_TOLD = "print(1, flush=True); sys.stdin.read()"
_HAS_IT = f"import sys; {_UNTIL_TOLD}"
_AS_DAEMON = "open('/proc/self/comm', 'w').write('dockerd')"
_ACTIVATOR = f"""{_LISTEN}
import subprocess
children = []
print(1, flush=True)
for line in sys.stdin:
    code = line.strip()
    if code == "end":
        children.pop().communicate()
    else:
        command = [sys.executable, "-c", code]
        pipe = subprocess.PIPE
        children.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, pass_fds=(s.fileno(),)))
        children[-1].stdout.readline()
        print(children[-1].pid, flush=True)
        continue
    print(0, flush=True)
"""
"""Listens, and hands its socket to programs, as systemd does."""


def _program(code: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "1\n"
    return process


def _tell(activator: subprocess.Popen[str], line: str) -> int:
    assert activator.stdin is not None and activator.stdout is not None
    activator.stdin.write(line + "\n")
    activator.stdin.flush()
    return int(activator.stdout.readline())


def test_the_daemon_is_the_one_that_has_the_socket_and_never_who_opened_it_for_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    (tmp_path / "link").symlink_to(path)
    activator = _program(_ACTIVATOR, str(path))
    assert daemon_process(f"unix://{path}") is None
    _tell(activator, _HAS_IT)
    assert daemon_process(f"unix://{path}") is None, "it is not a dockerd"
    daemon = _tell(activator, f"{_AS_DAEMON}; {_HAS_IT}")
    assert daemon_process(f"unix://{path}") == daemon
    assert daemon_process(f"unix://{tmp_path}/link") == daemon
    _tell(activator, f"{_AS_DAEMON}; {_HAS_IT}")
    assert daemon_process(f"unix://{path}") is None, "which of the two it is cannot be told"
    _tell(activator, "end")
    assert daemon_process(f"unix://{path}") == daemon
    _tell(activator, "end")
    assert daemon_process(f"unix://{path}") is None
    _tell(activator, "end")
    activator.communicate()


def test_a_daemon_that_listens_itself_is_named_by_the_kernel(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    proxy = _program(f"{_LISTEN}; {_UNTIL_TOLD}", path)
    assert daemon_process(f"unix://{path}") is None, "a proxy is not the daemon"
    os.unlink(path)
    daemon = _program(f"{_AS_DAEMON}; {_LISTEN}; {_UNTIL_TOLD}", path)
    assert daemon_process(f"unix://{path}") == daemon.pid
    proxy.communicate()
    daemon.communicate()
    assert daemon_process(f"unix://{path}") is None
    assert daemon_process(f"unix://{tmp_path}/none") is None
    assert daemon_process("tcp://127.0.0.1:1") is None


def test_neither_the_first_process_nor_this_one_is_the_daemon() -> None:
    former = Path("/proc/self/comm").read_text().strip()
    Path("/proc/self/comm").write_text("dockerd")
    try:
        assert not is_daemon(os.getpid()) and not is_daemon(1) and not is_daemon(0)
    finally:
        Path("/proc/self/comm").write_text(former)
    assert not is_daemon(os.getppid())


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
    monkeypatch.setattr(room, "daemon_process", lambda endpoint: None)
    monkeypatch.setattr(room, "Path", lambda path: process if path == "/proc/self" else Path(path))
    assert oom_score_floor("unix:///docker.sock") == floor
