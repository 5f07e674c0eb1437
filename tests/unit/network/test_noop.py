from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest

from asupervisor.config import NetworkConfig
from asupervisor.errors import ConfigError
from asupervisor.host.sysctl import switch_on
from asupervisor.network.plugin import PodNetwork
from asupervisor.network.select import network_plugin

POD = PodNetwork(
    sandbox_id="a" * 64, name="web", namespace="default", uid="u1", netns="/proc/1/ns/net"
)


@pytest.mark.parametrize("name", ["no-op", ""])
async def test_no_op_leaves_everything_to_the_engine(name: str, tmp_path: Path) -> None:
    plugin = network_plugin(NetworkConfig(plugin=name), tmp_path / "state")
    assert (plugin.name, plugin.engine_network_mode, plugin.engine_publishes_ports) == (
        "no-op",
        "default",
        True,
    )
    async with anyio.create_task_group() as tg:
        await tg.start(plugin.run)
        assert plugin.status().ready
        plugin.check(POD)
        assert await plugin.set_up(POD) == ()
        assert await plugin.addresses(POD) == ()
        await plugin.reconcile([POD])
        await plugin.update_pod_cidr("10.1.0.0/24")
        await plugin.tear_down(POD)
        tg.cancel_scope.cancel()
    assert not (tmp_path / "state").exists()


def test_an_unknown_plugin_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="flannel"):
        network_plugin(NetworkConfig(plugin="flannel"), tmp_path)


def test_a_sysctl_that_does_not_exist_is_reported_and_not_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "forward").write_text("0\n")
    switch_on("forward", tmp_path)
    assert (tmp_path / "forward").read_text() == "1"
    switch_on("missing/forward", tmp_path)
    assert [record.message.partition(" cannot")[0] for record in caplog.records] == [
        "sysctl missing.forward"
    ]
