"""All plugins, in the order of their indices, and what they are asked.

Events are told one after the other, and each to one plugin after the other, so that the decision of
one plugin is done before the next one decides. While a plugin joins, nothing is created: so each
object is either told then, or comes as an event. Before another plugin may join, as much time
passes as that took, so that a plugin that joins again and again cannot stop the creation of
objects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio
import anyio.lowlevel
from google.protobuf.message import Message

from asupervisor.config import NriConfig
from asupervisor.errors import DeadlineExceeded, FailedPrecondition, ServiceError
from asupervisor.nri.merge import Creation, Owners, Updates
from asupervisor.nri.plugin import Plugin
from asupervisor.nri.validate import check_creation
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api

_logger = logging.getLogger(__name__)
_UPDATES_S = 30.0
"""Time for all changes that one message asks for; no event is told meanwhile."""


class World(Protocol):
    """The pods and containers that the plugins act on."""

    async def everything(self) -> tuple[list[api.PodSandbox], list[api.Container]]:
        """Every pod, and every container that has not ended."""

    async def update_other(self, update: api.ContainerUpdate) -> None:
        """Change a container.

        Raises:
            ServiceError: it failed.
        """

    def evict(self, eviction: api.ContainerEviction, plugin: str) -> None:
        """Have a container end, in the background."""


class Registry:
    """The plugins.

    Args:
        config: the settings.
        world: what they act on.
        quiet: holds up the creation of objects while a plugin joins.
        changed: called when a plugin has joined or left.
    """

    def __init__(
        self,
        config: NriConfig,
        world: World,
        quiet: Callable[[], AbstractAsyncContextManager[None]],
        changed: Callable[[], None],
    ) -> None:
        self._config = config
        self._world = world
        self._plugins: list[Plugin] = []
        self._turn = anyio.Lock()
        self._joining = anyio.Lock()
        self._rests_until = 0.0
        self._quiet = quiet
        self._changed = changed

    @property
    def names(self) -> list[str]:
        """The names of the connected plugins, in the order in which they are asked."""
        return [plugin.name for plugin in self._plugins if plugin.alive]

    def subscribed(self, event: api.Event) -> bool:
        """Whether any plugin wants to be told of an event."""
        return any(plugin.subscribed(event) for plugin in self._plugins)

    async def join(self, plugin: Plugin) -> None:
        """Have a plugin register, tell it what is there, and ask it from then on.

        Raises:
            ServiceError: it cannot join.
        """
        await plugin.start()
        async with self._joining:
            await anyio.sleep_until(self._rests_until)
            began = anyio.current_time()
            try:
                await self._take_in(plugin)
            finally:
                self._rests_until = 2 * anyio.current_time() - began
        _logger.info(
            "NRI plugin %s is told of events; the order is %s", plugin.name, ", ".join(self.names)
        )

    async def _take_in(self, plugin: Plugin) -> None:
        async with self._quiet(), self._turn:
            pods, containers = await self._world.everything()
            updates = await plugin.synchronize(pods, containers)
            self._plugins = sorted([*self._plugins, plugin], key=lambda one: one.index)
            self._changed()
            await self._update(plugin.name, updates)

    def leave(self, plugin: Plugin) -> None:
        """Forget a plugin whose connection has ended."""
        if plugin in self._plugins:
            self._plugins.remove(plugin)
            self._changed()
            _logger.warning("NRI plugin %s is gone: %s", plugin.name, plugin.connection.reason)

    async def tell(self, event: api.Event, request: Message) -> None:
        """Tell of an event to which plugins only say yes or no.

        Raises:
            FailedPrecondition: a plugin refuses; the ones after it are not told.
        """
        async with self._turn:
            for plugin in tuple(self._plugins):
                await plugin.tell(event, request)

    async def create(self, request: api.CreateContainerRequest) -> Creation:
        """Ask for the adjustments of a container that is being created, and do what plugins want of
        other containers.

        Raises:
            FailedPrecondition: a plugin refuses, or two are in conflict, or a rule is broken.
        """
        creation = Creation(request.container)
        async with self._turn:
            plugins = tuple(self._plugins)
            for plugin in plugins:
                request.container.CopyFrom(creation.container)
                answer = await plugin.tell(api.CREATE_CONTAINER, request)
                if isinstance(answer, api.CreateContainerResponse):
                    creation.add(plugin.name, answer)
            await self._validate(request, creation, plugins)
            for eviction in creation.evictions:
                self._world.evict(eviction, "plugins")
            await self._update("plugins", creation.updates.of_others)
        return creation

    async def _validate(
        self, request: api.CreateContainerRequest, creation: Creation, plugins: Sequence[Plugin]
    ) -> None:
        names = [plugin.name for plugin in plugins if plugin.alive]
        if self._config.validates:
            check_creation(self._config, request.pod, creation, names)
        question = api.ValidateContainerAdjustmentRequest(
            pod=request.pod,
            container=creation.container,
            adjust=creation.adjust,
            update=creation.updates.of_others,
            owners=creation.owners.message,
            plugins=[api.PluginInstance(name=one.base, index=one.index) for one in plugins],
        )
        for plugin in plugins:
            if not plugin.subscribed(api.VALIDATE_CONTAINER_ADJUSTMENT):
                continue
            answer = await plugin.tell(api.VALIDATE_CONTAINER_ADJUSTMENT, question)
            if not plugin.alive:
                raise FailedPrecondition(
                    f"NRI plugin {plugin.name}, which validates adjustments, was lost while it did"
                )
            if isinstance(answer, api.ValidateContainerAdjustmentResponse) and answer.reject:
                raise FailedPrecondition(
                    f"NRI plugin {plugin.name} rejects the adjustments of container"
                    f" {request.container.name}: {answer.reason or 'without a reason'}"
                )

    async def update(self, request: api.UpdateContainerRequest) -> api.LinuxResources | None:
        """Ask what a container is to be updated to. None if no plugin changed it.

        Raises:
            FailedPrecondition: a plugin refuses, or two are in conflict.
        """
        container_id = request.container.id
        async with self._turn:
            updates = Updates(Owners(), own=(container_id, request.linux_resources))
            for plugin in tuple(self._plugins):
                answer = await plugin.tell(api.UPDATE_CONTAINER, request)
                if not isinstance(answer, api.UpdateContainerResponse):
                    continue
                updates.add(plugin.name, answer.update)
                if (own := updates.of_own) is not None:
                    request.linux_resources.CopyFrom(own)
                for eviction in answer.evict:
                    self._world.evict(eviction, plugin.name)
            await self._update("plugins", updates.of_others)
            return updates.of_own

    async def stop(self, request: api.StopContainerRequest) -> None:
        """Tell of a container that has ended, and do what plugins want of other containers.

        Raises:
            FailedPrecondition: a plugin refuses.
        """
        async with self._turn:
            updates = Updates(Owners())
            for plugin in tuple(self._plugins):
                answer = await plugin.tell(api.STOP_CONTAINER, request)
                if isinstance(answer, api.StopContainerResponse):
                    updates.add(plugin.name, answer.update)
            await self._update("plugins", updates.of_others)

    async def unsolicited(
        self, plugin: Plugin, request: api.UpdateContainersRequest
    ) -> api.UpdateContainersResponse:
        """Do what a plugin asks for without being asked; the answer has what failed.

        Raises:
            DeadlineExceeded: it did not get its turn, since this or another plugin is being asked
                something.
        """
        patience_s = self._config.request_timeout_s
        with anyio.move_on_after(patience_s):
            await self._turn.acquire()
            try:
                for eviction in request.evict:
                    self._world.evict(eviction, plugin.name)
                # Not cancelled at the deadline: what was begun is completed.
                with anyio.CancelScope(shield=True):
                    failed = await self._update(plugin.name, request.update)
                return api.UpdateContainersResponse(failed=failed)
            finally:
                self._turn.release()
        raise DeadlineExceeded(
            f"NRI plugin {plugin.name} asks for updates, and did not get its turn within"
            f" {patience_s:g} s"
        )

    async def _update(
        self, plugin: str, updates: Sequence[api.ContainerUpdate]
    ) -> list[api.ContainerUpdate]:
        failed: list[api.ContainerUpdate] = []
        done, words = 0, ""
        with anyio.move_on_after(_UPDATES_S):
            for update in updates:
                try:
                    await anyio.lowlevel.checkpoint()
                    await self._world.update_other(update)
                except ServiceError as error:
                    if not update.ignore_failure:
                        failed.append(update)
                        words = str(error)
                done += 1
        if done < len(updates):
            words = f"not done within {_UPDATES_S:g} s"
            failed += [update for update in updates[done:] if not update.ignore_failure]
        if failed:
            _logger.warning(
                "of %d updates for which the NRI plugin %s asks, %d failed; that of container %s:"
                " %s",
                len(updates),
                plugin,
                len(failed),
                failed[-1].container_id[:12],
                words,
            )
        return failed
