"""Which pod network a node runs: one plugin, chosen by ``--network-plugin``."""

from __future__ import annotations

from pathlib import Path

from asupervisor.config import NetworkConfig
from asupervisor.errors import ConfigError
from asupervisor.network.noop import NoOpNetwork
from asupervisor.network.plugin import NetworkPlugin


def network_plugin(config: NetworkConfig, state_dir: Path) -> NetworkPlugin:
    """The plugin that ``config.plugin`` names. It does no I/O before its ``run``; only what is
    chosen is imported.

    Args:
        config: the network settings.
        state_dir: a directory of the service's own, for what a plugin must remember over a restart
            and cannot read back from the kernel; made by the plugin when it needs one.

    Raises:
        ConfigError: there is no plugin of that name.
    """
    if config.plugin in ("", "no-op"):
        return NoOpNetwork()
    if config.plugin == "cni":
        from asupervisor.network.cni.network import CniNetwork

        return CniNetwork(config, state_dir)
    if config.plugin == "kubenet":
        from asupervisor.network.kubenet.network import KubenetNetwork

        return KubenetNetwork(config, state_dir)
    raise ConfigError(f'--network-plugin: "{config.plugin}" is not a network plugin')
