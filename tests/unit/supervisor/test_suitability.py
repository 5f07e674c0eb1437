"""What is said of an engine that does not suit the node."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.config import Config
from asupervisor.errors import ConfigError
from asupervisor.supervisor.suitability import Suitability


def _engine(firewall: str = "", cgroup_driver: str = "cgroupfs") -> Any:
    return SimpleNamespace(
        endpoint="unix:///e", firewall=firewall, cgroup_driver=cgroup_driver, oom_floor=None
    )


def _network(*users: str) -> Any:
    return SimpleNamespace(iptables_users=lambda: users)


def test_another_cgroup_driver_is_refused() -> None:
    check = Suitability(Config(cgroup_driver="systemd"), _network()).check
    check(_engine(cgroup_driver="systemd"))
    with pytest.raises(ConfigError, match=r'"systemd" but .* "cgroupfs"'):
        check(_engine())


@pytest.mark.parametrize("driver", ["nftables", "nftables+firewalld"])
def test_nftables_beside_iptables_is_told_once(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    users: tuple[str, ...] = ()
    network: Any = SimpleNamespace(iptables_users=lambda: users)
    check = Suitability(Config(), network).check
    with caplog.at_level(logging.WARNING):
        check(_engine(driver))
        assert not caplog.records, "the network was not read yet, or uses none"
        users = ("bridge", "portmap")
        for _ in range(2):
            check(_engine(driver))
    (line,) = caplog.messages
    assert "(bridge, portmap)" in line and "--firewall-backend=iptables" in line


@pytest.mark.parametrize("driver", ["", "iptables", "iptables+firewalld"])
def test_one_firewall_is_nothing_to_tell(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Suitability(Config(), _network("kubenet")).check(_engine(driver))
    assert not caplog.records
