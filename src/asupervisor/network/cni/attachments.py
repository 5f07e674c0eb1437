"""Pods attached to CNI networks: each is noted before its first ADD, cached after its last one, and
forgotten after DEL.

So what a plugin gave is never lost when this process ends: the next start finds the note."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from asupervisor.errors import FailedPrecondition, Internal, ServiceError
from asupervisor.host.netns import bring_loopback_up
from asupervisor.locks import KeyedLock
from asupervisor.network.addresses import is_own_namespace, namespace_addresses, namespace_identity
from asupervisor.network.cni.cache import Cached, ResultCache
from asupervisor.network.cni.chain import Chain
from asupervisor.network.cni.config import InvalidNetworkConfig, NetworkList, load_bytes
from asupervisor.network.cni.execute import Attachment, end_plugins
from asupervisor.network.cni.result import result_addresses
from asupervisor.network.plugin import PodNetwork

log = logging.getLogger(__name__)

_REMEMBERED = 4096


class Attachments:
    """The attachments of a node's pods, one interface each.

    Args:
        cache_dir: results go to ``<cache dir>/results``, in libcni's format.
        journal_dir: notes of pods whose ADD has begun.
        bin_dirs: where the plugins are.
        pod_deadline_s: seconds for the ADDs of one pod, and for its DELs.
        own_network: a network that only CRI services use, whatever its results say.
    """

    def __init__(
        self,
        cache_dir: Path,
        journal_dir: Path,
        bin_dirs: Sequence[str],
        pod_deadline_s: float,
        own_network: str = "",
    ) -> None:
        self._results = ResultCache(cache_dir / "results")
        self._begun = ResultCache(journal_dir)
        self._bin_dirs = tuple(bin_dirs)
        self._pod_deadline_s = pod_deadline_s
        self._own_network = own_network
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._namespaces: dict[str, tuple[str, tuple[int, int]]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    async def add(
        self, pod: PodNetwork, network: NetworkList, attachment: Attachment
    ) -> Mapping[str, Any]:
        """Bring ``lo`` up where it is not, ADD the pod to a network and cache the result. What
        fails has to be undone by :meth:`delete`.

        Args:
            pod: the pod; it needs a namespace of its own.
            network: the chain to call.
            attachment: the pod's interface, as plugins are told of it.

        Returns:
            The result; :meth:`addresses` knows the pod from here on.

        Raises:
            ServiceError: of the plugin that failed; FailedPrecondition where there is no namespace;
                Internal where the pod has no address in the end.
        """
        if not pod.netns or is_own_namespace(pod.netns):
            raise FailedPrecondition(
                f'sandbox {pod.sandbox_id} has no network namespace of its own ("{pod.netns}")',
                subject=pod.sandbox_id,
            )
        if self._known(pod.sandbox_id):  # the specification forbids a second ADD without a DEL
            await self.delete(pod, None)
        self._gone.pop(pod.sandbox_id, None)
        self._namespaces[pod.sandbox_id] = (pod.netns, namespace_identity(pod.netns))
        await self._begun.write(Cached(network.name, attachment, network.source, None))
        chain = Chain(network, self._bin_dirs, self._pod_deadline_s)
        await anyio.to_thread.run_sync(bring_loopback_up, pod.netns)
        result = await chain.add(attachment)
        addresses = result_addresses(result) or namespace_addresses(pod.netns)
        await self._results.write(Cached(network.name, attachment, network.source, result))
        if not addresses:
            raise Internal(
                f'network "{network.name}" gave sandbox {pod.sandbox_id} no address',
                subject=pod.sandbox_id,
            )
        self._begun.remove(network.name, attachment.container_id, attachment.interface)
        self._addresses[pod.sandbox_id] = addresses
        return result

    async def delete(
        self, pod: PodNetwork, fallback: tuple[NetworkList, Attachment] | None
    ) -> None:
        """DEL every attachment of a pod, by the configuration, the arguments and the result of its
        ADD; repeatable.

        Args:
            pod: the pod; its netns may be empty.
            fallback: what to DEL where nothing is known of the pod, or its configuration is not
                readable.

        Raises:
            ServiceError: of the plugin that failed; nothing is forgotten then.
        """
        known = self._known(pod.sandbox_id)
        if self._begun.find(pod.sandbox_id):
            await end_plugins(pod.sandbox_id)
        if (
            fallback is not None
            and all(map(_is_loopback, known))
            and pod.sandbox_id not in self._gone
        ):
            # This pod was not noted, or a peer ended before its ADD was cached: DEL does no harm
            # without an ADD.
            known.append(Cached(fallback[0].name, fallback[1], fallback[0].source, None))
        netns = "" if is_own_namespace(pod.netns) else pod.netns
        for cached in known:
            if not _is_loopback(cached):
                network = self._network_of(cached, fallback[0] if fallback else None)
                attachment = replace(cached.attachment, netns=netns)
                chain = Chain(network, self._bin_dirs, self._pod_deadline_s)
                await chain.delete(attachment, cached.result)
            for directory in (self._results, self._begun):
                directory.remove(cached.network, pod.sandbox_id, cached.attachment.interface)
        self._addresses.pop(pod.sandbox_id, None)
        self._namespaces.pop(pod.sandbox_id, None)
        self._gone[pod.sandbox_id] = None
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    async def check(self, pod: PodNetwork) -> None:
        """CHECK a pod's attachments.

        Args:
            pod: a living pod with its namespace.

        Raises:
            ServiceError: of the first plugin that finds that its work is not there any more.
        """
        for cached in self._results.find(pod.sandbox_id):
            if cached.result is not None and pod.netns and not _is_loopback(cached):
                network = self._network_of(cached, None)
                chain = Chain(network, self._bin_dirs, self._pod_deadline_s)
                await chain.check(replace(cached.attachment, netns=pod.netns), cached.result)

    def addresses(self, pod: PodNetwork) -> tuple[str, ...]:
        """A pod's addresses: from memory, else from the cache, else from its namespace; empty where
        ADD was not finished.
        """
        known = self._addresses.get(pod.sandbox_id)
        if known is not None:
            return known
        if self._begun.find(pod.sandbox_id):
            return ()
        found: tuple[str, ...] = ()
        for cached in self._results.find(pod.sandbox_id):
            found = found or result_addresses(cached.result or {})
        found = found or namespace_addresses(pod.netns)
        if found:
            self._addresses[pod.sandbox_id] = found
        return found

    def vanished(self, alive: Collection[str], locks: KeyedLock) -> list[PodNetwork]:
        """The pods that are noted or cached and not alive, with an empty netns.

        Args:
            alive: sandbox ids, as they were known a moment ago. A pod that was added since then is
                not in it, but it has its namespace, so it is not counted as vanished.
            locks: by sandbox id: a pod whose lock is held is not counted either.
        """
        found: dict[str, PodNetwork] = {}
        for cached in (*self._results.everything(), *self._begun.everything()):
            arguments = dict(cached.attachment.arguments)
            container_id = cached.attachment.container_id
            # Other programs may cache what is not a pod sandbox in the same directory.
            is_pod = (
                arguments.get("K8S_POD_INFRA_CONTAINER_ID") == container_id
                or cached.network == self._own_network
            )
            if not is_pod or container_id in alive or self._is_there(container_id):
                continue
            found[container_id] = PodNetwork(
                sandbox_id=container_id,
                name=arguments.get("K8S_POD_NAME", ""),
                namespace=arguments.get("K8S_POD_NAMESPACE", ""),
                uid=arguments.get("K8S_POD_UID", ""),
            )
        return [pod for pod in found.values() if not locks.held(pod.sandbox_id)]

    async def collect_garbage(
        self, network: NetworkList, alive: Collection[str], interface: str, deadline_s: float
    ) -> list[ServiceError]:
        """GC of a network: everything but the pods that are alive or cached.

        Args:
            network: whose plugins to call.
            alive: sandbox ids.
            interface: name of the interface in the pods.
            deadline_s: seconds.
        """
        valid = {*alive, *(cached.attachment.container_id for cached in self._results.everything())}
        return await Chain(network, self._bin_dirs, deadline_s).collect_garbage(
            [(entry, interface) for entry in sorted(valid)]
        )

    def _known(self, sandbox_id: str) -> list[Cached]:
        """What is noted and cached for a sandbox, once for each network and interface, with the
        result where there is one.
        """
        found = {
            (cached.network, cached.attachment.interface): cached
            for cached in (*self._begun.find(sandbox_id), *self._results.find(sandbox_id))
        }
        return list(found.values())

    def _is_there(self, sandbox_id: str) -> bool:
        """Whether the namespace of a pod that this process added exists still."""
        path, identity = self._namespaces.get(sandbox_id, ("", (0, 0)))
        return bool(path) and namespace_identity(path) == identity

    def _network_of(self, cached: Cached, fallback: NetworkList | None) -> NetworkList:
        try:
            return load_bytes(
                cached.config, f"cached configuration of sandbox {cached.attachment.container_id}"
            )
        except InvalidNetworkConfig as error:
            if fallback is None:
                raise
            log.warning("%s; the present configuration is used instead", error)
            return fallback


def _is_loopback(cached: Cached) -> bool:
    """Whether an attachment is that of ``lo``. Peers call a plugin for it and cache the result (the
    name is cri-dockerd's); it ends with its namespace.
    """
    return cached.network == "cni-loopback" or cached.attachment.interface == "lo"
