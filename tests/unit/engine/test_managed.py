"""What a managed engine needs to know before it is started, and what is said of it meanwhile."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
from pathlib import Path

import pytest

from asupervisor.engine import managed
from asupervisor.engine.bridge import free_subnet
from asupervisor.engine.managed import ManagedEngine
from asupervisor.errors import FailedPrecondition

HEADER = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


def route(network: str) -> str:
    parsed = ipaddress.IPv4Network(network)
    fields = [
        int(address).to_bytes(4, "big")[::-1].hex().upper()
        for address in (parsed.network_address, parsed.netmask)
    ]
    return f"eth0\t{fields[0]}\t00000000\t0001\t0\t0\t0\t{fields[1]}\t0\t0\t0\n"


def test_a_subnet_that_no_route_covers() -> None:
    assert str(free_subnet(HEADER)) == "172.31.0.0/16"
    assert (
        str(
            free_subnet(
                HEADER + route("0.0.0.0/0") + route("172.31.64.0/20") + route("172.30.0.0/16")
            )
        )
        == "172.29.0.0/16"
    )


def test_a_route_wider_than_a_candidate_takes_it() -> None:
    assert str(free_subnet(HEADER + route("172.16.0.0/12"))) == "192.168.240.0/24"


def test_no_range_left() -> None:
    with pytest.raises(FailedPrecondition, match="every private range"):
        free_subnet(HEADER + route("172.16.0.0/12") + route("192.168.0.0/16"))


def test_two_roots_share_nothing() -> None:
    one, other = ManagedEngine(Path("/srv/a")), ManagedEngine(Path("/srv/b"))
    assert one.bridge != other.bridge
    assert one.exec_root != other.exec_root
    assert one.containerd_namespace != other.containerd_namespace
    assert one.endpoint == "unix:///srv/a/engine/docker.sock"
    assert len(one.bridge) < 16


def test_while_its_own_engine_starts_nobody_is_told_to_start_one(tmp_path: Path) -> None:
    engine = ManagedEngine(tmp_path)
    for pid in (None, 7):
        engine.pid = pid
        reason, message = engine.diagnose(engine.endpoint)
        assert reason == "EngineStarting"
        assert "own dockerd" in message and "systemctl" not in message
        assert engine.starting == (reason, message)
    engine.answered()
    assert engine.starting is None, "from now on the probe says what it finds"


def test_its_configuration_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ManagedEngine(tmp_path)
    engine.exec_root = tmp_path / "run"
    monkeypatch.setattr(managed, "find_daemon", lambda: "/usr/bin/dockerd")
    monkeypatch.setattr(managed, "ensure_bridge", lambda name: None)
    settings = engine.directory / "daemon.json"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(FailedPrecondition, match="No space left"):
            engine._prepare()
    assert not settings.exists(), "an empty one would be read as the configuration"
    assert str(settings) in engine._prepare() and settings.read_text() == "{}\n"
    settings.write_text('{"debug": true}')
    engine._prepare()
    assert settings.read_text() == '{"debug": true}', "it is the operator's"


def test_the_runtime_for_plugins_is_added_to_what_an_operator_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ManagedEngine(tmp_path, "/root/oci/runtime")
    engine.exec_root = tmp_path / "run"
    monkeypatch.setattr(managed, "find_daemon", lambda: "/usr/bin/dockerd")
    monkeypatch.setattr(managed, "ensure_bridge", lambda name: None)
    settings = engine.directory / "daemon.json"
    added = {"asupervisor-nri": {"path": "/root/oci/runtime"}}
    engine._prepare()
    assert json.loads(settings.read_text()) == {"runtimes": added}
    kata = {"kata": {"path": "/usr/bin/kata"}}
    settings.write_text(json.dumps({"debug": True, "runtimes": kata}))
    engine._prepare()
    assert json.loads(settings.read_text()) == {"debug": True, "runtimes": kata | added}
    written = settings.stat().st_ino
    engine._prepare()
    assert settings.stat().st_ino == written, "nothing was to be changed"
    for odd in ("{", "[]"):
        settings.write_text(odd)
        engine._prepare()
        assert settings.read_text() == odd, "dockerd says what is wrong with it"
