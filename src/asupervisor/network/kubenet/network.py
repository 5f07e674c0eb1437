"""The ``kubenet`` plugin: pods on a bridge of the node, addresses from its pod CIDR, host ports and
masquerade by iptables.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from asupervisor.config import NetworkConfig
from asupervisor.errors import FailedPrecondition, ServiceError, Unavailable
from asupervisor.host.sysctl import pass_bridge_traffic_to_iptables, switch_on
from asupervisor.locks import KeyedLock
from asupervisor.network.bandwidth import pod_bandwidth
from asupervisor.network.cni.arguments import INTERFACE, attachment_of
from asupervisor.network.cni.attachments import Attachments
from asupervisor.network.cni.config import NetworkList, find_binary, load_bytes
from asupervisor.network.cni.network import POD_DEADLINE_S
from asupervisor.network.cni.result import host_interfaces
from asupervisor.network.hostports.forwarding import HostPortForwarding
from asupervisor.network.hostports.iptables import Iptables
from asupervisor.network.hostports.rules import Layout, Published
from asupervisor.network.kubenet.bridge import ensure_bridge, limit_sending
from asupervisor.network.kubenet.dedup import write_dedup_rules
from asupervisor.network.plugin import Gone, NetworkStatus, PodNetwork
from asupervisor.network.pod_cidr import PodCidr, Subnet, parse_pod_cidr
from asupervisor.network.teardown import TearDowns

log = logging.getLogger(__name__)

BRIDGE = "cbr0"
NETWORK = "kubenet"
_START_PATIENCE_S = 5.0
_BINARIES = ("bridge", "host-local")


class KubenetNetwork:
    """Pods on ``cbr0``.

    Args:
        config: the network settings.
        state_dir: a directory of the service's own.
        lease_dir: where host-local keeps its addresses; empty means its own default.
        iptables_backend: ``nft``, ``legacy`` or empty, as
            :class:`~asupervisor.network.hostports.iptables.Iptables` has it.
        pod_deadline_s: seconds for the plugins of one pod, each way.
        repair_interval_s: seconds after which rules that were flushed are written again, and a
            bridge that could not be set up is tried again.
        retry_delay_s: seconds from a tear-down that failed to its first repetition; doubled each
            time, up to a minute.
        rollback_wait_s: seconds that a failed set-up waits until it is undone.

    Raises:
        InvalidArgument: a CIDR in the settings is malformed.
    """

    name = "kubenet"
    engine_network_mode = "none"
    engine_publishes_ports = False

    def __init__(  # noqa: PLR0913 - times, and collaborators that tests replace, given by name
        self,
        config: NetworkConfig,
        state_dir: Path,
        *,
        lease_dir: str = "",
        iptables_backend: str = "",
        pod_deadline_s: float = POD_DEADLINE_S,
        repair_interval_s: float = 30.0,
        retry_delay_s: float = 1.0,
        rollback_wait_s: float = 10.0,
    ) -> None:
        self._bin_dirs = tuple(directory for directory in config.cni_bin_dirs if directory)
        self._mtu = config.mtu
        self._hairpin = config.hairpin_mode
        self._lease_dir = lease_dir
        self._non_masquerade = tuple(
            subnet
            for part in config.non_masquerade_cidr.split(",")
            for subnet in parse_pod_cidr(part)
        )
        self._pod_cidr = PodCidr(config.pod_cidr, state_dir)
        self._attachments = Attachments(
            Path(config.cni_cache_dir),
            state_dir / "kubenet",
            self._bin_dirs,
            pod_deadline_s,
            own_network=NETWORK,
        )
        self._host_ports = HostPortForwarding(Iptables(iptables_backend))
        self._repair_interval_s = repair_interval_s
        self._rollback_wait_s = rollback_wait_s
        self._locks = KeyedLock()
        self._preparing = anyio.Lock()
        self._tear_downs = TearDowns(self._delete, retry_delay_s=retry_delay_s)
        self._network: NetworkList | None = None
        self._problem = "kubenet has not been started yet"

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Set the bridge up if the pod CIDR is known, then keep the rules, until cancelled."""
        self._pod_cidr.recall()
        try:
            async with anyio.create_task_group() as group:
                await group.start(self._tear_downs.run)
                prepared = anyio.Event()
                group.start_soon(self._keep_up, prepared)
                # iptables may have to wait for its lock; that does not hold up the service.
                with anyio.move_on_after(_START_PATIENCE_S):
                    await prepared.wait()
                task_status.started()
        finally:
            self._host_ports.close()

    def status(self) -> NetworkStatus:
        """Ready once the pod CIDR is known and the bridge and the rules exist."""
        if self._network is not None and not self._problem:
            return NetworkStatus(ready=True)
        return NetworkStatus(False, self._problem)

    def check(self, pod: PodNetwork) -> None:
        """Refuse a pod when the network is not ready, its bandwidth annotations are wrong, or its
        host ports are taken.
        """
        if not self.status().ready:
            raise Unavailable(f"network is not ready: {self._problem}", subject=pod.sandbox_id)
        pod_bandwidth(pod.annotations)
        self._host_ports.check(pod)

    async def set_up(self, pod: PodNetwork) -> tuple[str, ...]:
        """Give the pod a place on the bridge; see ``NetworkPlugin``."""
        if not self.status().ready:
            raise Unavailable(f"network is not ready: {self._problem}", subject=pod.sandbox_id)
        network = self._network
        assert network is not None
        limits = pod_bandwidth(pod.annotations)
        self._host_ports.take(pod)
        async with (
            self._tear_downs.unless_complete(pod, self._rollback_wait_s),
            self._locks.hold(pod.sandbox_id),
        ):
            result = await self._attachments.add(
                pod, network, attachment_of(replace(pod, annotations={}))
            )
            if limits.ingress:
                await anyio.to_thread.run_sync(limit_sending, _port(result), limits.ingress)
            if limits.egress:
                await anyio.to_thread.run_sync(limit_sending, INTERFACE, limits.egress, pod.netns)
            addresses = self._attachments.addresses(pod)
            await self._host_ports.publish(pod, addresses)
        return addresses

    async def tear_down(self, pod: PodNetwork) -> None:
        """Take host ports, address and interface away; runs on when the caller gives up, and is
        repeated while it fails.
        """
        await self._tear_downs.finish(pod)

    async def addresses(self, pod: PodNetwork) -> tuple[str, ...]:
        """From memory, else from the result cache, else from the namespace; empty for a pod that
        was never set up to the end.
        """
        return self._attachments.addresses(pod)

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        """Take the pod CIDR, the first one, and set the bridge up."""
        if self._pod_cidr.update(pod_cidr):
            await self._prepare()

    def iptables_users(self) -> tuple[str, ...]:
        """Itself: host ports and masquerade."""
        return ("kubenet",)

    async def reconcile(self, living: Collection[PodNetwork], gone: Gone | None = None) -> None:
        """Release the host ports of pods that are gone; hold and publish those of the others."""
        alive = {pod.sandbox_id for pod in living}
        vanished = self._attachments.vanished(alive, self._locks)
        published = {
            pod.sandbox_id: Published(pod, self._attachments.addresses(pod)) for pod in living
        }
        await self._host_ports.rebuild(
            {sandbox_id: entry for sandbox_id, entry in published.items() if entry.addresses}
        )
        await self._tear_downs.finish_all(
            vanished, gone or (lambda sandbox_id: sandbox_id not in alive)
        )

    async def _delete(self, pod: PodNetwork) -> None:
        async with self._locks.hold(pod.sandbox_id):
            if not self._tear_downs.wanted(pod.sandbox_id):
                return
            await self._host_ports.withdraw(pod.sandbox_id)
            told = attachment_of(replace(pod, annotations={}))
            await self._attachments.delete(pod, (self._network, told) if self._network else None)

    async def _prepare(self) -> None:
        """Bridge, switches and rules. What is missing becomes the status, and is tried again."""
        async with self._preparing:
            try:
                self._network = await self._set_up_node()
                self._problem = ""
            except ServiceError as error:
                if error.message != self._problem:
                    log.warning("kubenet is not ready: %s", error)
                self._problem = error.message

    async def _set_up_node(self) -> NetworkList:
        missing = [binary for binary in _BINARIES if find_binary(binary, self._bin_dirs) is None]
        if missing:
            raise FailedPrecondition(
                f"there is no CNI plugin {', '.join(missing)} in {', '.join(self._bin_dirs)}"
            )
        if not self._pod_cidr:
            raise FailedPrecondition(
                "kubenet does not have a pod CIDR; give --pod-cidr, or let the controller manager"
                " allocate node CIDRs so that kubelet's UpdateRuntimeConfig brings it"
            )
        subnets = self._pod_cidr.subnets
        promiscuous = self._hairpin == "promiscuous-bridge"
        mtu = await anyio.to_thread.run_sync(ensure_bridge, BRIDGE, subnets, self._mtu, promiscuous)
        for subnet in subnets:
            if subnet.version == 4:
                switch_on("net/ipv4/ip_forward")
                # Lets 127.0.0.1 be translated to a pod, on the way to the bridge only.
                switch_on(f"net/ipv4/conf/{BRIDGE}/route_localnet")
            else:
                switch_on("net/ipv6/conf/all/forwarding")
        pass_bridge_traffic_to_iptables()
        await self._host_ports.lay_out(Layout(BRIDGE, subnets, self._non_masquerade))
        if promiscuous:
            await write_dedup_rules(subnets)
        # On recent kernels a promiscuous bridge does not send back packets that iptables translated
        # (br_netfilter handles them as routed packets), so the ports are in hairpin mode then too.
        return load_bytes(
            network_config(subnets, mtu, self._hairpin != "none", self._lease_dir), NETWORK
        )

    async def _keep_up(self, prepared: anyio.Event) -> None:
        """Prepare the node until that succeeds; then restore what others remove."""
        await self._prepare()
        prepared.set()
        while True:
            await anyio.sleep(self._repair_interval_s)
            if self._problem:
                await self._prepare()
                continue
            try:
                await self._host_ports.repair()
            except ServiceError as error:
                log.warning("%s", error)


def network_config(
    subnets: Collection[Subnet], mtu: int, hairpin: bool, lease_dir: str = ""
) -> bytes:
    """The CNI configuration that puts a pod on the bridge.

    Args:
        subnets: the pod CIDR; one host-local range for each.
        mtu: bytes.
        hairpin: whether a port of the bridge sends back what came in by it.
        lease_dir: where host-local keeps its addresses; empty means its own default.
    """
    ipam: dict[str, Any] = {
        "type": "host-local",
        "ranges": [[{"subnet": str(subnet)}] for subnet in subnets],
        "routes": [{"dst": "0.0.0.0/0" if subnet.version == 4 else "::/0"} for subnet in subnets],
    }
    if lease_dir:
        ipam["dataDir"] = lease_dir
    plugin = {
        "type": "bridge",
        "bridge": BRIDGE,
        "mtu": mtu,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": hairpin,
        "ipam": ipam,
    }
    return json.dumps({"cniVersion": "0.4.0", "name": NETWORK, "plugins": [plugin]}).encode()


def _port(result: Mapping[str, Any]) -> str:
    """The host's end of the pod's pair."""
    return next((name for name in host_interfaces(result) if name != BRIDGE), "")
