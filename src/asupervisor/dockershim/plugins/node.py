"""The node as plugins see it and act on it, and the plugins as the verbs see them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import TaskGroup

from asupervisor.dockershim.container.stop import end_container
from asupervisor.dockershim.container.update import change_resources
from asupervisor.dockershim.hooks import Farewell, Shape, no_farewell
from asupervisor.dockershim.plugins.describe import (
    describe_container,
    describe_devices,
    describe_pod,
    nri_resources,
)
from asupervisor.dockershim.plugins.document import Foreign, describe_carried
from asupervisor.dockershim.plugins.resources import engine_settings, with_resources
from asupervisor.dockershim.plugins.shape import AdjustedShape
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import DeadlineExceeded, NotFound, ServiceError
from asupervisor.locks import KeyedLock
from asupervisor.node.records import ContainerId, ContainerRecord, SandboxId
from asupervisor.node.store import Change
from asupervisor.nri.registry import Registry
from asupervisor.proto import cri
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from asupervisor.translate.documents import sequence
from asupervisor.translate.runtimes import wrapped_runtime

_logger = logging.getLogger(__name__)
_READING_S = 5.0
_UPDATE_S = 10.0
_READINGS_AT_ONCE = 8


class NodePlugins:
    """See :class:`asupervisor.dockershim.hooks.Plugins` and
    :class:`asupervisor.nri.registry.World`.

    Args:
        shim: the verbs' collaborators.
        tasks: where plugins are told of containers that ended, and evictions run.
    """

    def __init__(self, shim: Shim, tasks: TaskGroup) -> None:
        self._shim = shim
        self._tasks = tasks
        self._told_stopped: set[str] = set()
        self._leaving: set[str] = set()
        """What is being removed: the engine sends the event before it answers."""
        self._telling = KeyedLock()
        self._evicting: set[str] = set()
        self.registry = Registry(shim.config.nri, self, shim.hooks.quiet, self._plugins_changed)
        shim.store.listen(self._node_changed)
        self._plugins_changed()

    def _plugins_changed(self) -> None:
        needed = bool(self.registry.names) or self._shim.config.nri.validates
        self._shim.hooks.plugins = self if needed else None

    def _node_changed(self, change: Change) -> None:
        if change.after is None:
            if change.before is not None and change.before.id not in self._leaving:
                self._told_stopped.discard(change.before.id)
            return
        if not isinstance(change.after, ContainerRecord) or self._shim.hooks.plugins is None:
            return
        ended = change.after.status.state == cri.CONTAINER_EXITED
        before = change.before
        if ended and (
            not isinstance(before, ContainerRecord) or before.status.state != cri.CONTAINER_EXITED
        ):
            self._tasks.start_soon(self._beside, self.stopped, change.after.id)

    async def _beside(self, work: Callable[[str], Awaitable[None]], container_id: str) -> None:
        try:
            await work(container_id)
        except Exception:  # a defect here must not end the service
            _logger.exception("a defect of this service: container %s", container_id[:12])

    # What the verbs tell and ask.

    @property
    def shapes(self) -> bool:
        """Whether one wants to be asked about containers that are created."""
        return self._shim.config.nri.validates or self.registry.subscribed(api.CREATE_CONTAINER)

    async def run_pod(self, sandbox_id: str, addresses: tuple[str, ...]) -> None:
        """Ask about a pod that is about to be ready."""
        pod = self._pod(sandbox_id, addresses)
        await self.registry.tell(api.RUN_POD_SANDBOX, api.RunPodSandboxRequest(pod=pod))

    async def update_pod(self, request: cri.UpdatePodSandboxResourcesRequest) -> None:
        """Ask about new resources of a pod."""
        sandbox = self._shim.store.sandbox(request.pod_sandbox_id)
        question = api.UpdatePodSandboxRequest(
            pod=self._pod(sandbox.id),
            overhead_linux_resources=nri_resources(request.overhead),
            linux_resources=nri_resources(request.resources),
        )
        await self.registry.tell(api.UPDATE_POD_SANDBOX, question)

    async def pod_updated(self, sandbox_id: str) -> None:
        """Tell that a pod has new resources."""
        pod = self._pod(sandbox_id)
        await self._tell(api.POST_UPDATE_POD_SANDBOX, api.PostUpdatePodSandboxRequest(pod=pod))

    async def pod_stopped(self, sandbox_id: str) -> None:
        """Tell, once, that nothing of a pod runs but its sandbox."""
        await self._pod_stopped(self._pod(sandbox_id))

    async def _pod_stopped(self, pod: api.PodSandbox) -> None:
        async with self._telling.hold(pod.id):
            if pod.id not in self._told_stopped:
                self._told_stopped.add(pod.id)
                await self._tell(api.STOP_POD_SANDBOX, api.StopPodSandboxRequest(pod=pod))

    async def pod_leaves(self, sandbox_id: str) -> Farewell:
        """Describe a pod that is to be removed."""
        pod = self._pod(sandbox_id)
        self._leaving.add(sandbox_id)

        async def gone() -> None:
            await self._pod_stopped(pod)
            await self._tell(api.REMOVE_POD_SANDBOX, api.RemovePodSandboxRequest(pod=pod))
            self._forget(sandbox_id)

        return gone

    async def create(self, container_id: str, like: Shape | None) -> Shape:
        """Ask what a container is to be like."""
        pod, container = await self._described(container_id)
        if isinstance(like, AdjustedShape):
            now, container = container, api.Container()
            container.CopyFrom(like.described)
            container.id, container.created_at = now.id, now.created_at
            container.linux.cgroups_path = now.linux.cgroups_path
        described = api.Container()
        described.CopyFrom(container)
        creation = await self.registry.create(
            api.CreateContainerRequest(pod=pod, container=container)
        )
        subject = f"container {described.name} of pod {pod.namespace}/{pod.name}"
        shim = self._shim
        sandbox = shim.store.sandboxes.get(SandboxId(pod.id))
        handler = sandbox.runtime if sandbox is not None else ""
        wrapped = wrapped_runtime(shim.engine.info, shim.oci.path, handler)
        return AdjustedShape(creation.adjust, creation.owners.message, described, subject, wrapped)

    async def created(self, container_id: str) -> None:
        """Tell that a container is there."""
        await self._tell_of(api.POST_CREATE_CONTAINER, api.PostCreateContainerRequest, container_id)

    async def start(self, container_id: str) -> None:
        """Ask about a container that is about to start."""
        if self.registry.subscribed(api.START_CONTAINER):
            pod, container = await self._described(container_id)
            question = api.StartContainerRequest(pod=pod, container=container)
            await self.registry.tell(api.START_CONTAINER, question)

    async def started(self, container_id: str) -> None:
        """Tell that a container runs."""
        await self._tell_of(api.POST_START_CONTAINER, api.PostStartContainerRequest, container_id)

    async def update(
        self, record: ContainerRecord, resources: cri.LinuxContainerResources
    ) -> tuple[cri.LinuxContainerResources, dict[str, Any]]:
        """Ask about new resources of a container."""
        if not self.registry.subscribed(api.UPDATE_CONTAINER):
            return resources, {}
        pod, container = await self._described(record.id)
        asked = nri_resources(resources)
        own = await self.registry.update(
            api.UpdateContainerRequest(pod=pod, container=container, linux_resources=asked)
        )
        if own is None:
            return resources, {}
        subject = f"container {record.id[:12]}, as NRI plugins want it"
        settings = engine_settings(own, subject, creating=False)
        return with_resources(resources, own), settings

    async def updated(self, container_id: str) -> None:
        """Tell that a container has new resources."""
        await self._tell_of(api.POST_UPDATE_CONTAINER, api.PostUpdateContainerRequest, container_id)

    async def stopped(self, container_id: str) -> None:
        """Tell, once, that a container has ended."""
        # Described within the lock: its removal, which tells the same and then forgets that it
        # did, waits for the engine's answer.
        async with self._telling.hold(container_id):
            if container_id in self._told_stopped:
                return
            try:
                pod, container = await self._described(container_id)
            except NotFound:
                return
            await self._stopped(pod, container)

    async def _stopped(self, pod: api.PodSandbox, container: api.Container) -> None:
        """Tell it, unless that was done. The caller holds the lock."""
        if container.id in self._told_stopped:
            return
        self._told_stopped.add(container.id)
        try:
            await self.registry.stop(api.StopContainerRequest(pod=pod, container=container))
        except ServiceError as error:
            _logger.warning("container %s has ended: %s", container.id[:12], error)

    async def leaves(self, container_id: str) -> Farewell:
        """Describe a container that is to be removed."""
        try:
            pod, container = await self._described(container_id)
        except NotFound:
            return no_farewell

        async def gone() -> None:
            async with self._telling.hold(container_id):
                await self._stopped(pod, container)
            removal = api.RemoveContainerRequest(pod=pod, container=container)
            await self._tell(api.REMOVE_CONTAINER, removal)
            self._forget(container_id)

        self._leaving.add(container_id)
        return gone

    def _forget(self, any_id: str) -> None:
        self._leaving.discard(any_id)
        self._told_stopped.discard(any_id)

    async def _tell(self, event: api.Event, request: Any) -> None:
        try:
            await self.registry.tell(event, request)
        except ServiceError as error:
            _logger.warning("%s", error)

    async def _tell_of(
        self, event: api.Event, request: Callable[..., Any], container_id: str
    ) -> None:
        if not self.registry.subscribed(event):
            return
        try:
            pod, container = await self._described(container_id)
        except NotFound:
            return
        await self._tell(event, request(pod=pod, container=container))

    # What plugins see.

    def _pod(self, sandbox_id: str, addresses: tuple[str, ...] = ()) -> api.PodSandbox:
        record = self._shim.store.sandboxes.get(SandboxId(sandbox_id))
        if record is None:
            return api.PodSandbox(id=sandbox_id)
        checkpoint = self._shim.checkpoints.get(sandbox_id)
        return describe_pod(record, checkpoint, self._shim.engine.cgroup_driver, addresses)

    async def _described(self, container_id: str) -> tuple[api.PodSandbox, api.Container]:
        """A container with its pod.

        Raises:
            NotFound: it is not known.
        """
        shim = self._shim
        record = shim.store.containers.get(ContainerId(container_id))
        if record is None:
            raise NotFound(f"container {container_id[:12]} does not exist", subject=container_id)
        document: Any = {}
        try:
            document = await shim.engine.containers.inspect(container_id, timeout_s=_READING_S)
        except ServiceError as error:
            _logger.debug("plugins are told less of container %s: %s", container_id[:12], error)
        devices: list[api.LinuxDevice] = []
        if sequence(document, "HostConfig", "Devices"):
            try:
                devices = await shim.lanes.host_paths.run(
                    f"devices of {container_id[:12]}", describe_devices, document
                )
            except ServiceError as error:
                _logger.debug("plugins are told no device of %s: %s", container_id[:12], error)
        container = describe_container(
            record,
            shim.store.sandboxes.get(record.sandbox_id),
            document,
            shim.store.image(record.status.image_id),
            shim.engine.cgroup_driver,
        )
        container.linux.devices.extend(devices)
        try:
            describe_carried(container, await shim.oci.read(record.id))
        except Foreign as error:
            _logger.warning("plugins are told less of container %s: %s", container_id[:12], error)
        return self._pod(record.sandbox_id), container

    async def everything(self) -> tuple[list[api.PodSandbox], list[api.Container]]:
        """See :class:`World`."""
        store = self._shim.store
        pods = [self._pod(record.id) for record in store.sandboxes.values() if record.complete]
        alive: list[str] = []
        for record in store.containers.values():
            if record.status.state == cri.CONTAINER_EXITED:
                self._told_stopped.add(record.id)
            elif not store.conceals(record):
                alive.append(record.id)
        found: dict[str, api.Container] = {}
        limiter = anyio.CapacityLimiter(_READINGS_AT_ONCE)

        async def describe(container_id: str) -> None:
            async with limiter:
                with suppress(NotFound):  # removed meanwhile
                    found[container_id] = (await self._described(container_id))[1]

        async with anyio.create_task_group() as tasks:
            for container_id in alive:
                tasks.start_soon(describe, container_id)
        return pods, [found[one] for one in alive if one in found]

    # What plugins do.

    async def update_other(self, update: api.ContainerUpdate) -> None:
        """Change a container as a plugin wants it."""
        record = self._shim.store.containers.get(ContainerId(update.container_id))
        if record is None:
            raise NotFound(
                f"container {update.container_id[:64]} does not exist", subject=update.container_id
            )
        asked = update.linux.resources
        subject = f"container {record.id[:12]}, as an NRI plugin wants it"
        settings = engine_settings(asked, subject, creating=False)
        resources = with_resources(cri.LinuxContainerResources(), asked)
        with anyio.move_on_after(_UPDATE_S):
            await change_resources(self._shim, record.id, resources, settings)
            return
        raise DeadlineExceeded(f"{subject}: not changed within {_UPDATE_S:g} s", subject=record.id)

    def evict(self, eviction: api.ContainerEviction, plugin: str) -> None:
        """Have a container end, in the background."""
        container_id = eviction.container_id
        if ContainerId(container_id) not in self._shim.store.containers:
            _logger.warning(
                "the NRI plugin %s evicts %s, which is no container here", plugin, container_id[:12]
            )
        elif container_id not in self._evicting:
            self._evicting.add(container_id)
            _logger.warning(
                "container %s is ended, since the NRI plugin %s evicts it: %s",
                container_id[:12],
                plugin,
                eviction.reason,
            )
            self._tasks.start_soon(self._beside, self._evicted, container_id)

    async def _evicted(self, container_id: str) -> None:
        try:
            await end_container(self._shim, container_id, 0)
        except ServiceError as error:
            _logger.warning("container %s is not ended: %s", container_id[:12], error)
        finally:
            self._evicting.discard(container_id)
