"""Faults of kubelet's configuration that concern pods."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.doctor import kubelet
from asupervisor.doctor.finding import Level
from tests.harness.made_node import MadeNode, assert_finds, only


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    return MadeNode(tmp_path)


@pytest.mark.parametrize(
    ("servers", "level"),
    [
        ("nameserver 127.0.0.53\noptions edns0\n", Level.WARNING),
        ("nameserver ::1\nnameserver 10.0.0.2\n", Level.OK),
        ("search example.test\n", Level.OK),
    ],
)
def test_name_servers_that_pods_do_not_reach(made: MadeNode, servers: str, level: Level) -> None:
    assert kubelet.resolvers(made.node) == []
    made.kubelet = {"resolvConf": "/srv/resolv.conf"}
    made.write("srv/resolv.conf", servers)
    assert_finds(only(kubelet.resolvers(made.node)), level, "/srv/resolv.conf")
