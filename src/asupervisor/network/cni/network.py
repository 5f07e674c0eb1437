"""The ``cni`` plugin: pods on the network that the cluster's operator configured."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import anyio
from anyio.abc import TaskGroup, TaskStatus

from asupervisor.config import NetworkConfig
from asupervisor.errors import FailedPrecondition, ServiceError, Unavailable
from asupervisor.locks import KeyedLock
from asupervisor.network.bandwidth import pod_bandwidth
from asupervisor.network.cni.arguments import INTERFACE, attachment_of
from asupervisor.network.cni.attachments import Attachments
from asupervisor.network.cni.chain import Chain
from asupervisor.network.cni.config import NetworkList
from asupervisor.network.cni.load import Loader
from asupervisor.network.cni.watch import DirectoryWatch
from asupervisor.network.hostports.claims import HostPortClaims
from asupervisor.network.plugin import Gone, NetworkStatus, PodNetwork
from asupervisor.network.pod_cidr import PodCidr
from asupervisor.network.shared_lock import SharedLock
from asupervisor.network.teardown import TearDowns

log = logging.getLogger(__name__)

POD_DEADLINE_S = 220.0
"""Seconds for one pod's ADD, and again for its DEL, as kubelet's dockershim had it."""
_START_PATIENCE_S = 2.0
_STATUS_DEADLINE_S = 10.0
_GC_DEADLINE_S = 10.0
_CHECK_AGAIN_S = 20.0
_WARNINGS = 5


class CniNetwork:
    """Pods on the first valid network configuration in a directory.

    Args:
        config: the network settings.
        state_dir: a directory of the service's own.
        pod_deadline_s: seconds for the ADDs of one pod, and for its DELs.
        poll_interval_s: seconds after which the configuration and the plugins' STATUS are looked at
            again in any case.
        retry_delay_s: seconds from a DEL that failed to its first repetition; doubled each time, up
            to a minute.
        rollback_wait_s: seconds that a failed ADD waits until it is undone, which goes on in the
            background if it takes longer.
    """

    name = "cni"
    engine_network_mode = "none"
    engine_publishes_ports = False

    def __init__(
        self,
        config: NetworkConfig,
        state_dir: Path,
        *,
        pod_deadline_s: float = POD_DEADLINE_S,
        poll_interval_s: float = 5.0,
        retry_delay_s: float = 1.0,
        rollback_wait_s: float = 10.0,
    ) -> None:
        self._bin_dirs = tuple(directory for directory in config.cni_bin_dirs if directory)
        self._conf_dir = config.cni_conf_dir
        self._loader = Loader(self._conf_dir, self._bin_dirs)
        self._attachments = Attachments(
            Path(config.cni_cache_dir), state_dir / "cni", self._bin_dirs, pod_deadline_s
        )
        self._pod_cidr = PodCidr(config.pod_cidr, state_dir)
        self._poll_interval_s = poll_interval_s
        self._rollback_wait_s = rollback_wait_s
        self._network: NetworkList | None = None
        self._problems: tuple[str, ...] = ("the CNI configuration has not been read yet",)
        self._unhealthy = ""
        self._to_check = True
        self._claims = HostPortClaims()
        self._locks = KeyedLock()
        # GC releases every attachment that it is not told of, so no ADD may run beside it.
        self._adding = SharedLock()
        self._tear_downs = TearDowns(self._delete, retry_delay_s=retry_delay_s)
        self._group: TaskGroup | None = None

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Read the configuration, then watch it, until cancelled. DELs in flight are then killed
        and repeated by the next start.
        """
        self._pod_cidr.recall()
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                await group.start(self._tear_downs.run)
                loaded = anyio.Event()
                group.start_soon(self._follow_configuration, loaded)
                # A plugin that hangs on VERSION or STATUS does not hold up the service.
                with anyio.move_on_after(_START_PATIENCE_S):
                    await loaded.wait()
                task_status.started()
                group.start_soon(self._poll_status)
                await anyio.sleep_forever()
            finally:
                self._group = None

    def status(self) -> NetworkStatus:
        """Ready while a configuration is loaded, has the pod CIDR that it wants, and its plugins'
        STATUS is good.
        """
        message = self._missing()
        return NetworkStatus(not message, message)

    def check(self, pod: PodNetwork) -> None:
        """Refuse a pod when the network is not ready, its bandwidth annotations are wrong, or its
        host ports are held.
        """
        if message := self._missing():
            raise Unavailable(f"network is not ready: {message}", subject=pod.sandbox_id)
        pod_bandwidth(pod.annotations)
        self._claims.check(pod, unless_same_pod=True)

    async def set_up(self, pod: PodNetwork) -> tuple[str, ...]:
        """ADD loopback and the network; see :class:`~asupervisor.network.plugin.NetworkPlugin`."""
        self.check(pod)
        network = self._network
        assert network is not None
        attachment = attachment_of(pod, pod_cidr=str(self._pod_cidr))
        self._claims.claim(pod, unless_same_pod=True)
        async with (
            self._tear_downs.unless_complete(pod, self._rollback_wait_s),
            self._adding.shared(),
            self._locks.hold(pod.sandbox_id),
        ):
            await self._attachments.add(pod, network, attachment)
        return self._attachments.addresses(pod)

    async def tear_down(self, pod: PodNetwork) -> None:
        """DEL the network; runs on without its caller, and is repeated while it fails."""
        await self._tear_downs.finish(pod)

    async def addresses(self, pod: PodNetwork) -> tuple[str, ...]:
        """From memory, else from the result cache, else from the namespace; empty for a pod that
        was never set up to the end.
        """
        return self._attachments.addresses(pod)

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        """Take the pod CIDR for the ``ipRanges`` capability; the first one wins."""
        self._pod_cidr.update(pod_cidr)

    def iptables_users(self) -> tuple[str, ...]:
        """The plugins of the list that use it; see
        :attr:`~asupervisor.network.cni.config.PluginConfig.uses_iptables`.
        """
        plugins = self._network.plugins if self._network is not None else ()
        return tuple(plugin.type for plugin in plugins if plugin.uses_iptables)

    async def reconcile(self, living: Collection[PodNetwork], gone: Gone | None = None) -> None:
        """DEL what is cached or begun for sandboxes that are gone, and claim the host ports of the
        living pods; then GC and CHECK in the background.
        """
        alive = {pod.sandbox_id for pod in living}
        vanished = self._attachments.vanished(alive, self._locks)
        for pod in living:
            try:
                self._claims.claim(pod, unless_same_pod=True)
            except FailedPrecondition as error:
                log.warning("%s", error)
        await self._tear_downs.finish_all(
            vanished, gone or (lambda sandbox_id: sandbox_id not in alive)
        )
        if self._group is not None:
            self._group.start_soon(self._look_after, tuple(living))

    async def _delete(self, pod: PodNetwork) -> None:
        async with self._locks.hold(pod.sandbox_id):
            if not self._tear_downs.wanted(pod.sandbox_id):
                return
            # Wrong annotations must not prevent the tear-down of a pod.
            told = attachment_of(replace(pod, annotations={}), pod_cidr=str(self._pod_cidr))
            await self._attachments.delete(pod, (self._network, told) if self._network else None)
            self._claims.release(pod.sandbox_id)

    def _missing(self) -> str:
        if self._network is None:
            return "; ".join(("cni config uninitialized", *self._problems))
        if "ipRanges" in self._network.capabilities and not self._pod_cidr:
            return (
                f'{self._network.path}: the network wants "ipRanges" and there is no pod CIDR; give'
                " --pod-cidr, or let the controller manager allocate node CIDRs"
            )
        return self._unhealthy

    async def _follow_configuration(self, loaded: anyio.Event) -> None:
        with DirectoryWatch(
            (self._conf_dir, *self._bin_dirs), self._poll_interval_s
        ).opened() as watch:
            await self._reload()
            loaded.set()
            while True:
                await watch.changed()
                await self._reload()

    async def _reload(self) -> None:
        loaded = await self._loader.load()
        # Without any network the problems are the reason of not ready, which is logged elsewhere.
        if loaded.problems != self._problems and (loaded.network or self._network):
            for problem in loaded.problems:
                log.warning("CNI configuration: %s", problem)
        self._problems = loaded.problems
        if loaded.network is None:
            return  # the last good one is kept
        if self._network is None or (loaded.network.source, loaded.network.path) != (
            self._network.source,
            self._network.path,
        ):
            log.info('CNI network "%s" from %s', loaded.network.name, loaded.network.path)
            self._network = loaded.network
            self._unhealthy = ""
            await self._ask_status()

    async def _poll_status(self) -> None:
        while True:
            await anyio.sleep(self._poll_interval_s)
            await self._ask_status()

    async def _ask_status(self) -> None:
        network = self._network
        if network is None:
            return
        try:
            await Chain(network, self._bin_dirs, _STATUS_DEADLINE_S).status()
        except ServiceError as error:
            self._unhealthy = error.message
        else:
            self._unhealthy = ""

    async def _look_after(self, living: tuple[PodNetwork, ...]) -> None:
        """GC once no ADD is under way; then, once in the life of the process, CHECK the living pods
        and log what it finds.
        """
        network = self._network
        if network is not None and network.speaks("1.1.0") and not network.disable_gc:
            async with self._adding.alone():
                alive = {pod.sandbox_id for pod in living}
                for error in await self._attachments.collect_garbage(
                    network, alive, INTERFACE, _GC_DEADLINE_S
                ):
                    log.warning("%s", error)
        pods, self._to_check = (living, False) if self._to_check else ((), False)
        if doubtful := await self._not_as_made(pods):
            # If an earlier process began to tear a pod down, as in a drain, kubelet asks for that
            # again; so look a second time.
            await anyio.sleep(_CHECK_AGAIN_S)
            found = await self._not_as_made(tuple(pod for pod, _ in doubtful))
            for pod, error in found[:_WARNINGS]:
                log.warning(
                    "the network of pod %s/%s is not as it was made: %s",
                    pod.namespace,
                    pod.name,
                    error,
                )
            if len(found) > _WARNINGS:
                log.warning("so are the networks of %d more pods", len(found) - _WARNINGS)

    async def _not_as_made(
        self, pods: tuple[PodNetwork, ...]
    ) -> list[tuple[PodNetwork, ServiceError]]:
        found: list[tuple[PodNetwork, ServiceError]] = []
        for pod in pods:
            if self._tear_downs.pending(pod.sandbox_id):
                continue
            try:
                await self._attachments.check(pod)
            except ServiceError as error:
                found.append((pod, error))
        return found
