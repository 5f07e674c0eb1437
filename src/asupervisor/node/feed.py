"""Keeps the node state in step with the engine: subscribe, snapshot, apply, and again whenever the
stream is lost.

An event only says that a container changed; the container is then read. So an event that comes
twice, late or out of order does no harm, and what this service changed itself is read before its
RPC returns, event or not.

What exists is what the engine lists. What is listed and cannot be inspected is unknown, not absent:
until it can be inspected, it is shown as in the engine's list."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from asupervisor.conditions import Reason
from asupervisor.engine.client import EngineClient
from asupervisor.engine.endpoint import socket_path
from asupervisor.engine.session import Document
from asupervisor.errors import Internal, NotFound, ServiceError, Unavailable
from asupervisor.host.heap import Heap
from asupervisor.node.build import (
    checkpoint_only_record,
    completed,
    sandbox_record,
    summary_record,
)
from asupervisor.node.changes import Changes
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.container_builder import Built, ContainerBuilder
from asupervisor.node.engine_event import read_event
from asupervisor.node.images import ImageFeed
from asupervisor.node.logs import ContainerLogs
from asupervisor.node.networks import MADE_FOR, SandboxNetworks
from asupervisor.node.ownership import Ownership
from asupervisor.node.records import SandboxId
from asupervisor.node.refresh import Apply, Refresher, Settled
from asupervisor.node.retries import Retries
from asupervisor.node.store import NodeStore
from asupervisor.node.users import ContainerUsers
from asupervisor.single_flight import Flight
from asupervisor.translate.documents import mapping, text
from asupervisor.translate.labels import TYPE_SANDBOX
from asupervisor.translate.provenance import Origin, Seal

_logger = logging.getLogger(__name__)
_AUDIT_S = 300.0
_RETRY_S = (0.1, 0.2, 0.5, 1.0)
_SNAPSHOT_DEADLINE_S = 60.0
_READING_DEADLINE_S = 20.0
_PING_DEADLINE_S = 5.0
_STRAGGLERS_S = 5.0
"""How long a full reading waits for single containers: one for which the engine does not answer
must not keep the node from being ready.
"""
_AGAIN_S = 1.0
"""Seconds between two checks of what has to be read again."""


class Feed:
    """The one writer of the node state.

    Args:
        engine: asked for documents and events.
        store: written.
        checkpoints: what is kept of each sandbox.
        tasks: where readings run.
        images: gets the events of images; reads the images with each full reading.
        on_event: told each event's action and age in seconds when it is handled (metrics).
        on_resync: told after each full reading, with its duration in seconds.
        logs: told of containers before the store shows them.
        ownership: tells which containers are pods'; by their names alone where not given.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, some of them given by name
        self,
        engine: EngineClient,
        store: NodeStore,
        checkpoints: CheckpointStore,
        tasks: TaskGroup,
        images: ImageFeed,
        on_event: Callable[[str, float], None] = lambda action, age_s: None,
        on_resync: Callable[[float], None] = lambda seconds: None,
        logs: ContainerLogs | None = None,
        ownership: Ownership | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._checkpoints = checkpoints
        self.images = images
        self._on_event = on_event
        self._on_resync = on_resync
        self._logs = logs or ContainerLogs()
        self.ownership = ownership or Ownership(Seal(), store, checkpoints)
        self._builder = ContainerBuilder(
            store, checkpoints, self._logs, ContainerUsers(socket_path(engine.endpoint) is not None)
        )
        self._networks = SandboxNetworks(local=socket_path(engine.endpoint) is not None)
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._refresher = Refresher(
            tasks, self._read, on_failure=lambda any_id, error: self._retries.failed(any_id, error)
        )
        self._retries = Retries(_logger)
        self._heap = Heap()
        self._resyncing = anyio.Lock()
        self._missed = anyio.Event()
        self._destroyed: set[str] = set()
        """What was removed, by the events, since the list was asked for that is being read."""
        self._changes = Changes(self._refresher.mark)
        self.resyncs = 0
        self.resynced = anyio.Event()
        """Set after each full reading, then replaced."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow the engine until cancelled; a lost stream is a gap, and ends readiness until
        everything was read again.
        """
        task_status.started()
        failures = 0
        while True:
            await self._engine.health.wait_reachable()
            self._changes.gap()
            try:
                # The group is the outer context: the session, which converts the errors of the
                # stream, must get them alone and not in a group.
                async with (
                    anyio.create_task_group() as tasks,
                    self._engine.system.events(timeout_s=5.0) as events,
                ):
                    tasks.start_soon(self._audit, name="node audit")
                    tasks.start_soon(self._read_again, name="node readings that failed")
                    tasks.start_soon(self._name_mounted_images, name="images that are mounted")
                    # Events are read meanwhile: the engine keeps only a few hundred for a slow
                    # reader.
                    async for event in events:
                        self._take(event)
                    tasks.cancel_scope.cancel()
            except* ServiceError as group:
                error = _first(group)
                failures = 0 if self._engine.health.synced else failures
                self._engine.health.set_stale(
                    Reason.ENGINE_EVENTS_LOST,
                    f"{error}; the node state is read again when the engine answers",
                )
                _logger.debug("following Docker Engine's events ended: %s", error)
            await anyio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
            failures += 1

    async def _audit(self) -> None:
        """Read everything now, after an event that could not be read, and every few minutes."""
        await self.resync()
        self._engine.health.set_synced()
        if self._heap.has_grown:
            await anyio.to_thread.run_sync(self._heap.give_back)
        while True:
            with anyio.move_on_after(_AUDIT_S):
                await self._missed.wait()
            self._missed = anyio.Event()
            try:
                await self.resync()
            except ServiceError as error:
                # The event stream goes on, so nothing is lost; everything is compared again later.
                _logger.warning("the node could not be read from Docker Engine: %s", error)
                self._missed.set()
            await anyio.sleep(_AGAIN_S)

    async def _read_again(self) -> None:
        """The engine sends an event once: what could not be read for it is tried again until it
        is.
        """
        while True:
            await anyio.sleep(_AGAIN_S)
            self._retries.tell()
            if self._engine.health.reachable:
                self.images.read_again()
                for any_id in self._retries.due():
                    self._refresher.mark(any_id)

    async def _name_mounted_images(self) -> None:
        """Containers are read before the images; those that mount an image get its id
        afterwards.
        """
        await self._store.images_known.wait()
        for record in list(self._store.containers.values()):
            if any(
                mount.HasField("image") and not mount.image.image_ref
                for mount in record.status.mounts
            ):
                self._refresher.mark(record.id)

    def _take(self, event: Document | None) -> None:
        """Handle an event. None, and one that cannot be understood, say that something changed but
        not what: then everything is compared.
        """
        told = read_event(event) if event is not None else None
        if event is None or told is None:
            self._changes.gap()
            self._missed.set()
            return
        self._on_event(told.action, told.age_s)
        if told.about_image:
            self.images.take(event)
        elif not told.may_be_a_pods and self._store.absent(told.any_id):
            return
        elif told.action == "destroy":
            self.forget(told.any_id)
        else:
            self._changes.told(told.any_id, told.action)

    async def resync(self) -> None:
        """Read everything: containers, the checkpoints of sandboxes that are gone, and, behind
        them, images.

        Raises:
            ServiceError: the engine could not be asked.
        """
        async with self._resyncing:
            started = time.monotonic()
            outcomes = await self._list()
            with anyio.move_on_after(_STRAGGLERS_S):
                for outcome in outcomes.values():
                    await outcome.done.wait()
            errors = [outcome.error for outcome in outcomes.values()]
            if errors and all(isinstance(error, Unavailable) for error in errors):
                await self._engine.system.ping(_PING_DEADLINE_S)  # has the engine gone meanwhile?
            late = [one[:12] for one, outcome in outcomes.items() if not outcome.done.is_set()]
            if late:
                self._engine.health.require("read the containers")
                _logger.warning(
                    "Docker Engine does not answer for %s; going on without",
                    ", ".join(sorted(late)),
                )
            self._logs.retain((*self._store.containers, *self._store.unread))
            self.images.read_all()
            self.resyncs += 1
            self._on_resync(time.monotonic() - started)
            done, self.resynced = self.resynced, anyio.Event()
            done.set()

    async def _list(self) -> dict[str, Flight[None]]:
        """Show what the engine lists and have all of it read."""
        self._destroyed.clear()
        ids = set()
        for summary, origin in self.ownership.listed(
            await self._engine.containers.list_owned(
                while_down=True, timeout_s=_SNAPSHOT_DEADLINE_S
            )
        ):
            any_id = text(summary, "Id")
            if any_id and any_id not in self._destroyed:
                ids.add(any_id)
                self._show(summary, origin)
        # What the list does not have is read too: it may be gone, or have been made since.
        for any_id, checkpoint in self._checkpoints.all.items():
            if any_id not in ids and self._store.absent(any_id):
                self._store.put_unread(checkpoint_only_record(any_id, checkpoint))
        self._store.containers_known.set()
        ids |= {*self._store.sandboxes, *self._store.containers, *self._store.unread}
        return {any_id: self._refresher.mark(any_id) for any_id in ids}

    def _show(self, summary: Document, origin: Origin | None) -> None:
        if origin is None:
            return
        any_id = text(summary, "Id")
        try:
            record = summary_record(summary, self._checkpoints.get(any_id), origin)
        except Internal as error:
            _logger.warning(
                "the summary of container %s cannot be understood: %s", any_id[:12], error
            )
            return
        self._store.put_unread(record)

    async def refresh(self, any_id: str, after: str = "") -> None:
        """Have the store show a container as it is now; called by every verb that changed one,
        before it returns.

        Args:
            any_id: the engine's id of it.
            after: the event by which the engine tells of the change; empty where there is none.

        Raises:
            ServiceError: the engine could not be asked.
        """
        await self._changes.made(any_id, after).wait()

    def complete(self, sandbox_id: str) -> None:
        """Show that every step of a sandbox is done, with the addresses that it was given."""
        record = self._store.sandboxes.get(SandboxId(sandbox_id))
        if record is not None and record.known_to_engine:
            checkpoint = self._checkpoints.get(sandbox_id)
            made_for = checkpoint.extra.get(MADE_FOR) if checkpoint is not None else None
            lost = made_for is not None and made_for != record.started
            record = replace(record, network_lost=lost)
            self._store.put_sandbox(completed(record, self._addresses.get(sandbox_id, ())))

    def forget(self, any_id: str) -> None:
        """A container is gone; a sandbox that has a checkpoint stays visible as not ready."""
        # A reading under way may have seen it alive; applied after this it would bring it back.
        self._refresher.void(any_id)
        self._destroyed.add(any_id)
        self._gone(any_id)

    def _gone(self, any_id: str) -> None:
        self._retries.done(any_id)
        self._changes.forget(any_id)
        self._addresses.pop(any_id, None)
        self._networks.forget(any_id)
        self._logs.forget(any_id)
        self._builder.forget(any_id)
        checkpoint = self._checkpoints.get(any_id)
        if checkpoint is not None:
            self._store.put_sandbox(checkpoint_only_record(any_id, checkpoint))
        else:
            self._store.remove(any_id)

    def ending(self, sandbox_id: str) -> None:
        """A sandbox is being stopped: its network is expected to be gone before its process."""
        self._networks.ending(sandbox_id)

    def set_addresses(self, sandbox_id: str, addresses: tuple[str, ...]) -> None:
        """What the network plugin gave a sandbox; shown from its next reading on."""
        self._addresses[sandbox_id] = addresses

    async def _read(self, any_id: str) -> Apply:
        try:
            document = await self._engine.containers.inspect(
                any_id, while_down=True, timeout_s=_READING_DEADLINE_S
            )
        except NotFound:
            return partial(self._gone, any_id)
        if text(document, "Id") != any_id or not mapping(document, "Config"):
            raise Internal(f"what Docker Engine says of container {any_id} cannot be understood")
        document = self.ownership.named(document)
        origin = self.ownership.origin(document)
        if origin is None or origin.kind == TYPE_SANDBOX:
            return partial(self._apply, document, origin)
        built = self._builder.build(document, origin)
        return Settled(
            partial(self._logs.settle, built.record),
            partial(self._apply_container, document, origin, built),
        )

    def unsettled(self, any_id: str) -> bool:
        """Whether a container is said to have changed and was not read since."""
        return self._refresher.under_way(any_id) or self._retries.waiting(any_id)

    def mark(self, any_id: str) -> None:
        """A container changed without an event; it is read again in the background."""
        self._refresher.mark(any_id)

    def _apply(self, document: Document, origin: Origin | None) -> None:
        """Put a sandbox into the store; what is not a pod's is gone."""
        any_id = text(document, "Id")
        self._retries.done(any_id)
        if origin is None:
            self._gone(any_id)
            return
        checkpoint = self._checkpoints.get(any_id)
        addresses = self._addresses.get(any_id) or (
            checkpoint.addresses if checkpoint is not None else ()
        )
        default_runtime = str(self._engine.info.get("DefaultRuntime") or "")
        lost = self._networks.lost(document, checkpoint)
        known = self._store.sandboxes.get(SandboxId(any_id))
        ending = self._networks.is_ending(document, checkpoint)
        if lost and not ending and (known is None or not known.network_lost):
            _logger.warning(
                "sandbox %s is not ready: its process was started again without the network"
                " that was made for it, or its stop was cut short; it is made anew when"
                " kubelet stops it",
                any_id[:12],
            )
        record = sandbox_record(document, checkpoint, addresses, default_runtime, lost, origin)
        self._store.put_sandbox(record)
        for stranger in self.ownership.strangers(record):
            self._refresher.mark(stranger)

    def _apply_container(self, document: Document, origin: Origin, built: Built) -> None:
        """Put a container into the store, if it is a pod's."""
        container_id = text(document, "Id")
        self._retries.done(container_id)
        if not self.ownership.holds(document, origin):
            self._gone(container_id)
            return
        self._store.put_container(self._builder.renewed(built, document, origin).record)


def _first(group: BaseExceptionGroup[ServiceError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
