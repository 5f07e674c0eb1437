"""No pod network of our own: pods and their host ports use the engine's bridge."""

from __future__ import annotations

from collections.abc import Collection

import anyio
from anyio.abc import TaskStatus

from asupervisor.host.sysctl import pass_bridge_traffic_to_iptables
from asupervisor.network.plugin import Gone, NetworkStatus, PodNetwork


class NoOpNetwork:
    """The ``no-op`` plugin: everything is left to the engine's ``bridge`` network."""

    name = "no-op"
    engine_network_mode = "default"
    engine_publishes_ports = True

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Let kube-proxy's rules see bridged traffic, as kubelet's no-op plugin did."""
        pass_bridge_traffic_to_iptables()
        task_status.started()
        await anyio.sleep_forever()

    def status(self) -> NetworkStatus:
        """Always ready: there is nothing that could be missing."""
        return NetworkStatus(ready=True)

    def check(self, pod: PodNetwork) -> None:
        """Nothing to refuse: the engine refuses a host port that is taken at the start."""

    async def set_up(self, pod: PodNetwork) -> tuple[str, ...]:
        """Nothing to do; the engine connected the sandbox when it started. The addresses are in its
        inspect document.
        """
        return ()

    async def tear_down(self, pod: PodNetwork) -> None:
        """Nothing to do; the engine disconnects the sandbox when it stops."""

    async def addresses(self, pod: PodNetwork) -> tuple[str, ...]:
        """Empty: the engine's inspect document (``NetworkSettings.Networks``) has them."""
        return ()

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        """Ignored: the engine chose its subnet."""

    def iptables_users(self) -> tuple[str, ...]:
        """None: the engine makes the rules."""
        return ()

    async def reconcile(self, living: Collection[PodNetwork], gone: Gone | None = None) -> None:
        """Nothing to do: the engine knows its pods' networks itself."""
