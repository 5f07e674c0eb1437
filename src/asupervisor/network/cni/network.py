"""The ``cni`` plugin: pods on the network that the cluster's operator configured."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import anyio
from anyio.abc import TaskGroup, TaskStatus

from asupervisor.config import NetworkConfig
from asupervisor.errors import FailedPrecondition, Internal, RollbackFailed, ServiceError, Unavailable
from asupervisor.network.addresses import is_own_namespace, namespace_addresses
from asupervisor.network.bandwidth import pod_bandwidth
from asupervisor.network.cni.arguments import attachment_of
from asupervisor.network.cni.cache import Cached, ResultCache
from asupervisor.network.cni.chain import Chain
from asupervisor.network.cni.config import LOOPBACK, InvalidNetworkConfig, NetworkList, find_binary, load_bytes
from asupervisor.network.cni.execute import Attachment
from asupervisor.network.cni.load import Loader
from asupervisor.network.cni.result import result_addresses
from asupervisor.network.cni.watch import DirectoryWatch
from asupervisor.network.hostports.claims import HostPortClaims
from asupervisor.network.plugin import NetworkStatus, PodNetwork
from asupervisor.network.serial import Gate, KeyedLock
from asupervisor.network.teardown import TearDowns

log = logging.getLogger(__name__)

POD_DEADLINE_S = 220.0
"""For one pod's ADD, and again for its DEL; kubelet's own limit for CNI since dockershim."""
_STATUS_DEADLINE_S = 10.0
_GC_DEADLINE_S = 10.0
_REMEMBERED = 4096


class CniNetwork:
    """Pods on the first valid network configuration in a directory.

    A pod is noted in ``<state dir>/cni`` before its first ADD and cached in libcni's format after its last one, so that
    there is no moment at which the end of this process would leak what a plugin gave.

    Args:
        config: the network settings.
        state_dir: a directory of the service's own.
        pod_deadline_s: seconds for the ADDs of one pod, and for its DELs.
        poll_interval_s: seconds after which the configuration and the plugins' STATUS are looked at again in any case.
        retry_delay_s: seconds from a DEL that failed to its first repetition; doubled each time, up to a minute.
        rollback_wait_s: seconds that a failed ADD waits for its own undoing, which goes on behind it if it takes longer.
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
        self._results = ResultCache(Path(config.cni_cache_dir) / "results")
        self._begun = ResultCache(state_dir / "cni")
        self._pod_cidr = config.pod_cidr
        self._pod_deadline_s = pod_deadline_s
        self._poll_interval_s = poll_interval_s
        self._rollback_wait_s = rollback_wait_s
        self._loopback = Chain(LOOPBACK, self._bin_dirs)
        self._network: NetworkList | None = None
        self._problems: tuple[str, ...] = ("the CNI configuration has not been read yet",)
        self._unhealthy = ""
        self._pods: dict[str, tuple[str, ...]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._claims = HostPortClaims()
        self._locks = KeyedLock()
        self._tear_downs = TearDowns(self._delete_in_order, retry_delay_s=retry_delay_s)
        self._adding = Gate()  # GC releases every attachment that it is not told of, so no ADD may run beside it
        self._group: TaskGroup | None = None

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Read the configuration, then watch it, until cancelled. DELs in flight are then killed and repeated by the next start."""
        with DirectoryWatch((self._conf_dir, *self._bin_dirs), self._poll_interval_s).opened() as watch:
            await self._reload()
            async with anyio.create_task_group() as group:
                self._group = group
                try:
                    await group.start(self._tear_downs.run)
                    task_status.started()
                    group.start_soon(self._poll_status)
                    while True:
                        await watch.changed()
                        await self._reload()
                finally:
                    self._group = None

    def status(self) -> NetworkStatus:
        """Ready while a configuration is loaded, has the pod CIDR that it wants, and its plugins' STATUS is good."""
        message = self._missing()
        return NetworkStatus(ready=True) if not message else NetworkStatus(False, "NetworkPluginNotReady", message)

    def check(self, pod: PodNetwork) -> None:
        """Refuse a pod when the network is not ready, its bandwidth annotations are wrong, or its host ports are held."""
        if message := self._missing():
            raise Unavailable(f"network is not ready: {message}", operation="check pod network", subject=pod.sandbox_id)
        pod_bandwidth(pod.annotations)
        self._claims.check(pod, unless_same_pod=True)

    async def set_up(self, pod: PodNetwork) -> tuple[str, ...]:
        """ADD loopback and the network; see :class:`~asupervisor.network.plugin.NetworkPlugin`."""
        self.check(pod)
        network = self._network
        assert network is not None
        if not pod.netns or is_own_namespace(pod.netns):
            raise FailedPrecondition(
                f'sandbox {pod.sandbox_id} has no network namespace of its own ("{pod.netns}")',
                operation="set up pod network",
                subject=pod.sandbox_id,
            )
        attachment = attachment_of(pod, pod_cidr=self._pod_cidr)
        self._claims.claim(pod, unless_same_pod=True)
        try:
            async with self._adding.shared(), self._locks.hold(pod.sandbox_id):
                return await self._add(pod, network, attachment)
        except ServiceError as error:
            if not await self._tear_downs.bounded(pod, self._rollback_wait_s):
                raise RollbackFailed(
                    error.message,
                    leftovers=(f"the network of sandbox {pod.sandbox_id} is not taken down yet; that is tried again",),
                    operation="set up pod network",
                    subject=pod.sandbox_id,
                ) from error
            raise
        except BaseException:
            self._tear_downs.begin(pod)
            raise

    async def tear_down(self, pod: PodNetwork) -> None:
        """DEL the network; runs on when the caller gives up, and is repeated behind it while it fails."""
        await self._tear_downs.finish(pod)

    async def addresses(self, pod: PodNetwork) -> tuple[str, ...]:
        """From memory, else from the result cache, else from the namespace; empty for a pod that was never set up to the end."""
        known = self._pods.get(pod.sandbox_id)
        if known is not None:
            return known
        if self._begun.find(pod.sandbox_id):
            return ()
        found: tuple[str, ...] = ()
        for cached in self._attachments(pod.sandbox_id):
            found = found or result_addresses(cached.result or {})
        found = found or namespace_addresses(pod.netns)
        if found:
            self._pods[pod.sandbox_id] = found
        return found

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        """Take the pod CIDR for the ``ipRanges`` capability; the first one wins."""
        if not pod_cidr or pod_cidr == self._pod_cidr:
            return
        if self._pod_cidr:
            log.warning("pod CIDR %s is ignored: it is %s already", pod_cidr, self._pod_cidr)
            return
        self._pod_cidr = pod_cidr

    async def reconcile(self, living: Collection[PodNetwork]) -> None:
        """DEL what is cached or begun for sandboxes that live no more, take back host ports, look at the living, collect garbage."""
        alive = {pod.sandbox_id: pod for pod in living}
        vanished: dict[str, PodNetwork] = {}
        for cached in (*self._results.everything(), *self._begun.everything()):
            container_id = cached.attachment.container_id
            if container_id in alive or container_id in vanished or self._locks.held(container_id) or not _is_pod(cached):
                continue
            arguments = dict(cached.attachment.arguments)
            vanished[container_id] = PodNetwork(
                sandbox_id=container_id,
                name=arguments.get("K8S_POD_NAME", ""),
                namespace=arguments.get("K8S_POD_NAMESPACE", ""),
                uid=arguments.get("K8S_POD_UID", ""),
            )
        for pod in living:
            try:
                self._claims.claim(pod, unless_same_pod=True)
            except FailedPrecondition as error:
                log.warning("%s", error)
        if vanished:
            log.info("releasing the networks of %d sandboxes that are gone", len(vanished))
        await self._tear_downs.finish_all(vanished.values())
        if self._group is not None:
            self._group.start_soon(self._look_after, tuple(living))

    async def _add(self, pod: PodNetwork, network: NetworkList, attachment: Attachment) -> tuple[str, ...]:
        if self._attachments(pod.sandbox_id):  # a second ADD without a DEL is forbidden
            await self._delete(pod)
        self._gone.pop(pod.sandbox_id, None)
        self._begun.write(Cached(network.name, attachment, network.source, None))
        end = anyio.current_time() + self._pod_deadline_s
        if find_binary("loopback", self._bin_dirs) is not None or "127.0.0.1" not in _local(pod.netns):
            await self._loopback.add(attachment, self._pod_deadline_s)
        result = await Chain(network, self._bin_dirs).add(attachment, end - anyio.current_time())
        addresses = result_addresses(result) or namespace_addresses(pod.netns)
        self._results.write(Cached(network.name, attachment, network.source, result))
        if not addresses:
            raise Internal(
                f'network "{network.name}" gave sandbox {pod.sandbox_id} no address', operation="set up pod network", subject=pod.sandbox_id
            )
        self._begun.remove(network.name, attachment.container_id, attachment.interface)
        self._pods[pod.sandbox_id] = addresses
        return addresses

    async def _delete_in_order(self, pod: PodNetwork) -> None:
        async with self._locks.hold(pod.sandbox_id):
            await self._delete(pod)

    async def _delete(self, pod: PodNetwork) -> None:
        """DEL every attachment of a pod, by the configuration and with the arguments and result of its ADD."""
        attachments = self._attachments(pod.sandbox_id)
        if not attachments:
            if pod.sandbox_id in self._gone:
                return
            if self._network is not None:  # nobody noted this pod: DEL is harmless where ADD never was
                attachments = [Cached(self._network.name, attachment_of(pod, pod_cidr=self._pod_cidr), self._network.source, None)]
        netns = "" if is_own_namespace(pod.netns) else pod.netns
        for cached in attachments:
            attachment = replace(cached.attachment, netns=netns)
            if cached.network != LOOPBACK.name:
                await Chain(self._list_of(cached), self._bin_dirs).delete(attachment, cached.result, self._pod_deadline_s)
            for directory in (self._results, self._begun):
                directory.remove(cached.network, attachment.container_id, attachment.interface)
        self._pods.pop(pod.sandbox_id, None)
        self._claims.release(pod.sandbox_id)
        self._gone[pod.sandbox_id] = None
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    def _attachments(self, sandbox_id: str) -> list[Cached]:
        """What is cached and begun for a sandbox, once for each network and interface, with the result where there is one."""
        found = {(cached.network, cached.attachment.interface): cached for cached in self._begun.find(sandbox_id)}
        found |= {(cached.network, cached.attachment.interface): cached for cached in self._results.find(sandbox_id)}
        return list(found.values())

    def _list_of(self, cached: Cached) -> NetworkList:
        try:
            return load_bytes(cached.config, f"cached configuration of sandbox {cached.attachment.container_id}")
        except InvalidNetworkConfig as error:
            if self._network is None:
                raise
            log.warning("%s; the present configuration is used to take it down", error)
            return self._network

    def _missing(self) -> str:
        if self._network is None:
            return "; ".join(("cni config uninitialized", *self._problems))
        if "ipRanges" in self._network.capabilities and not self._pod_cidr:
            return (
                f'{self._network.path}: the network wants "ipRanges" and there is no pod CIDR; give --pod-cidr, or let the '
                "controller manager allocate node CIDRs"
            )
        return self._unhealthy

    async def _reload(self) -> None:
        loaded = await self._loader.load()
        if loaded.problems != self._problems:
            for problem in loaded.problems:
                log.warning("CNI configuration: %s", problem)
        self._problems = loaded.problems
        if loaded.network is None:
            return  # the last good one is kept
        if self._network is None or (loaded.network.source, loaded.network.path) != (self._network.source, self._network.path):
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
            await Chain(network, self._bin_dirs).status(_STATUS_DEADLINE_S)
        except ServiceError as error:
            if error.message != self._unhealthy:
                log.warning("%s", error)
            self._unhealthy = error.message
        else:
            self._unhealthy = ""

    async def _look_after(self, living: tuple[PodNetwork, ...]) -> None:
        """GC once no ADD is under way, then CHECK the living pods; what CHECK finds is for the operator."""
        network = self._network
        if network is not None and network.speaks("1.1.0") and not network.disable_gc:
            async with self._adding.alone():
                valid = {pod.sandbox_id for pod in living} | {cached.attachment.container_id for cached in self._results.everything()}
                for error in await Chain(network, self._bin_dirs).collect_garbage(
                    ((entry, "eth0") for entry in sorted(valid)), _GC_DEADLINE_S
                ):
                    log.warning("%s", error)
        for pod in living:
            for cached in self._results.find(pod.sandbox_id):
                if cached.result is None or not pod.netns or cached.network == LOOPBACK.name:
                    continue
                try:
                    attachment = replace(cached.attachment, netns=pod.netns)
                    await Chain(self._list_of(cached), self._bin_dirs).check(attachment, cached.result, self._pod_deadline_s)
                except ServiceError as error:
                    log.warning("the network of pod %s/%s is not as it was made: %s", pod.namespace, pod.name, error)


def _is_pod(cached: Cached) -> bool:
    """Whether an attachment was made for a pod sandbox: other programs may cache theirs in the same directory."""
    return dict(cached.attachment.arguments).get("K8S_POD_INFRA_CONTAINER_ID") == cached.attachment.container_id


def _local(netns: str) -> str:
    try:
        return Path(netns).parents[1].joinpath("net/fib_trie").read_text()
    except (OSError, IndexError):
        return ""
