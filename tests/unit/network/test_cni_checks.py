"""What CHECK finds after a start is told once it is sure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asupervisor.config import NetworkConfig
from asupervisor.errors import Internal
from asupervisor.network.cni import network
from asupervisor.network.cni.network import CniNetwork
from asupervisor.network.plugin import PodNetwork

WEB, DB = (PodNetwork(name[0] * 64, name, "default", "u1", netns="x") for name in ("web", "db"))


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CniNetwork:
    monkeypatch.setattr(network, "_CHECK_AGAIN_S", 0.01)
    return CniNetwork(NetworkConfig(), tmp_path)


def broken(looks: dict[str, int]) -> Callable[[PodNetwork], object]:
    """A CHECK that fails so many times for each pod."""

    async def check(pod: PodNetwork) -> None:
        if looks.get(pod.name, 0) > 0:
            looks[pod.name] -= 1
            raise Internal("no such interface")

    return check


async def test_a_network_that_is_being_torn_down_is_not_reported(
    plugin: CniNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a kill in a drain: kubelet asks again for the stop, and then nothing is left."""
    monkeypatch.setattr(plugin._attachments, "check", broken({"web": 1, "db": 2}))
    await plugin._look_after((WEB, DB))
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the network of pod default/db is not as it was made: no such interface"]


async def test_a_burst_is_told_in_a_few_lines(
    plugin: CniNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pods = tuple(
        PodNetwork(f"{number:064}", f"p{number}", "default", "u1", netns="x")
        for number in range(100)
    )
    monkeypatch.setattr(plugin._attachments, "check", broken({pod.name: 2 for pod in pods}))
    await plugin._look_after(pods)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 6 and told[-1] == "so are the networks of 95 more pods"
