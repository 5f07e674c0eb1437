"""Checks whether the engine fits the node's settings."""

from __future__ import annotations

import logging

from asupervisor.config import Config
from asupervisor.engine.client import EngineClient
from asupervisor.errors import ConfigError
from asupervisor.network.plugin import NetworkPlugin

_logger = logging.getLogger(__name__)


class Suitability:
    """Checks each engine that begins to answer, also a restarted one.

    Args:
        config: the settings.
        network: the pod network.
    """

    def __init__(self, config: Config, network: NetworkPlugin) -> None:
        self._config = config
        self._network = network
        self._two_firewalls = False

    def check(self, engine: EngineClient) -> None:
        """Refuse an engine that cannot be used; log what an operator has to know.

        Raises:
            ConfigError: the engine contradicts the settings.
        """
        wanted, has = self._config.cgroup_driver, engine.cgroup_driver
        if wanted and has and wanted != has:
            raise ConfigError(
                f'--cgroup-driver is "{wanted}" but Docker Engine at {engine.endpoint} uses'
                f' "{has}"; make them the same'
            )
        if engine.oom_floor is not None:
            _logger.warning(
                "Docker Engine may not lower oom_score_adj on this host (no CAP_SYS_RESOURCE):"
                " scores below %d are raised to it",
                engine.oom_floor,
            )
        if engine.firewall.startswith("nftables") and not self._two_firewalls:
            self._warn_of_two_firewalls(self._network.iptables_users())

    def _warn_of_two_firewalls(self, users: tuple[str, ...]) -> None:
        if not users:
            return
        self._two_firewalls = True
        _logger.warning(
            "Docker Engine makes its firewall rules with nftables, and the pod network with"
            " iptables (%s): a packet has to be accepted by both; give the engine"
            " --firewall-backend=iptables, or the plugins their nftables backend",
            ", ".join(users),
        )
