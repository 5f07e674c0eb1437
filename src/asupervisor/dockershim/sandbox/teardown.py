"""What stopping, removing and rolling back a sandbox share: its network released, its processes
ended, what is left of it removed.

No step depends on another that may fail: each is tried, and the errors are raised together at the
end. The next call tries again what failed. All of it runs under the sandbox's own lock."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial

import anyio

from asupervisor.dockershim.container.remove import remove_engine_container
from asupervisor.dockershim.container.stop import end_container, may_run, wait_for
from asupervisor.dockershim.sandbox.network import held_network
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, NotFound, ServiceError, Unavailable, together
from asupervisor.network.plugin import PodNetwork
from asupervisor.node.build import without_network
from asupervisor.node.networks import RELEASED, RELEASING
from asupervisor.node.records import ContainerRecord, SandboxId, SandboxRecord
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.documents import text
from asupervisor.translate.labels import SANDBOX_ID_LABEL
from asupervisor.translate.sandbox import STOP_GRACE_S

_logger = logging.getLogger(__name__)


def is_stopped(shim: Shim, record: SandboxRecord) -> bool:
    """Whether a sandbox is stopped: network released, nothing running or being started."""
    return (
        not record.ready
        and not record.pid
        and not shim.feed.unsettled(record.id)
        and network_released(shim, record.id)
        and not any(may_run(shim, container) for container in _containers(shim, record.id))
    )


async def require_ended(shim: Shim, sandbox_id: str) -> None:
    """Check that nothing runs of a sandbox that the engine does not have; if something does,
    nothing of it may be changed.

    Raises:
        FailedPrecondition: a process of it runs.
    """
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    if record is None or not record.known_to_engine:
        await shim.orphans.require_ended(sandbox_id)


async def stop_sandbox(shim: Shim, sandbox_id: str) -> None:
    """Kill what runs in a sandbox (the CRI wants it forcibly terminated), then end the sandbox
    itself. At the same time release its network, from a namespace that is held meanwhile.

    Raises:
        ServiceError: of what failed, all of it in one message.
    """
    network: list[ServiceError] = []
    failures: list[ServiceError] = []
    reason = f"sandbox {sandbox_id[:12]} is being stopped"
    with shim.operations.closing(sandbox_id, reason), _network_of(shim, sandbox_id) as pod:
        shim.feed.ending(sandbox_id)
        if shim.hooks.plugins:
            # Plugins are told while the pod's network still exists and none of its containers runs.
            await _end_containers(shim, sandbox_id, failures)
            await shim.hooks.plugins.pod_stopped(sandbox_id)
            failures.clear()  # each is tried again
        async with anyio.create_task_group() as tasks:
            if not network_released(shim, sandbox_id):
                tasks.start_soon(_try, network, partial(_release_beside, shim, pod))
            await _end_containers(shim, sandbox_id, failures)
            await _try(failures, partial(_end_sandbox, shim, sandbox_id))
        # A start whose caller gave up may have succeeded after its container was stopped.
        for container in [] if failures else _containers(shim, sandbox_id):
            if container.running:
                await _try(failures, partial(end_container, shim, container.id, 0))
    if network or failures:
        raise together((*network, *failures))


async def _release_beside(shim: Shim, pod: PodNetwork) -> None:
    await _release(shim, pod)
    await shim.on_step("StopPodSandbox.released")


async def _end_containers(shim: Shim, sandbox_id: str, failures: list[ServiceError]) -> None:
    async with anyio.create_task_group() as tasks:
        for container in _containers(shim, sandbox_id):
            if may_run(shim, container):
                end = partial(end_container, shim, container.id, 0)
                tasks.start_soon(_try, failures, end)


async def remove_sandbox(shim: Shim, sandbox_id: str) -> None:
    """Remove what is there of a sandbox: its containers, its network, its own container, its
    checkpoint. What could not be removed keeps the sandbox visible as not ready.

    Raises:
        ServiceError: of what failed, all of it in one message.
    """
    await require_ended(shim, sandbox_id)
    failures: list[ServiceError] = []
    reason = f"sandbox {sandbox_id[:12]} is being removed"
    with shim.operations.closing(sandbox_id, reason) as closing:
        await _try(failures, partial(wait_for, shim, closing, sandbox_id))
        farewell = await shim.hooks.pod_leaves(sandbox_id)
        known = _containers(shim, sandbox_id)
        async with anyio.create_task_group() as tasks:
            # At the same time, since usually all containers are known.
            tasks.start_soon(_try, failures, partial(_find_containers, shim, sandbox_id))
            await _try(failures, partial(_remove_known, shim, sandbox_id, known, failures))
        for container in _containers(shim, sandbox_id):
            if container.id not in {one.id for one in known}:
                await _try(failures, partial(remove_engine_container, shim, container))
        await shim.on_step("RemovePodSandbox.removed")
        if failures:
            raise together(failures)
        await farewell()
        # Last: if this process ends before, the checkpoint keeps the sandbox visible.
        await shim.checkpoints.remove(sandbox_id)
        shim.feed.forget(sandbox_id)


async def _remove_known(
    shim: Shim, sandbox_id: str, containers: list[ContainerRecord], failures: list[ServiceError]
) -> None:
    for container in containers:
        await _try(failures, partial(remove_engine_container, shim, container))
    await _try(failures, partial(release_network, shim, sandbox_id))
    await shim.on_step("RemovePodSandbox.released")
    await _try(failures, partial(_remove_container, shim, sandbox_id))


async def release_network(shim: Shim, sandbox_id: str) -> None:
    """Tear the pod's network down and record that. If this process is killed in between, or the
    disk refuses the checkpoint, it is done once more.

    Raises:
        ServiceError: the network plugin could not, and goes on trying.
    """
    if not network_released(shim, sandbox_id):
        with _network_of(shim, sandbox_id) as pod:
            await _release(shim, pod)


def _containers(shim: Shim, sandbox_id: str) -> list[ContainerRecord]:
    """Every container of a sandbox, also those that could not be read yet."""
    return [*shim.store.containers_of(sandbox_id), *shim.store.unread_of(sandbox_id)]


async def _find_containers(shim: Shim, sandbox_id: str) -> None:
    """Read containers of a sandbox that the engine has and that are not known here: the answer of a
    creation may have been lost, and its event not handled yet.
    """
    for summary in await shim.engine.containers.list_labelled(f"{SANDBOX_ID_LABEL}={sandbox_id}"):
        if shim.store.absent(any_id := text(summary, "Id")):
            await shim.feed.refresh(any_id)


def _network_of(shim: Shim, sandbox_id: str) -> AbstractContextManager[PodNetwork]:
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    return held_network(sandbox_id, record, shim.checkpoints.get(sandbox_id))


async def _release(shim: Shim, pod: PodNetwork) -> None:
    sandbox_id = pod.sandbox_id
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    if record is not None and record.ready:
        # It runs: if this process is killed in between, it must not stay ready without its network.
        # A disk that refuses the checkpoint does not prevent the release.
        with suppress(FailedPrecondition):
            await shim.checkpoints.amend(sandbox_id, partial(_marked, RELEASING))
        # It may run on if the engine cannot stop it, and nothing would read it again.
        if (record := shim.store.sandboxes.get(SandboxId(sandbox_id))) is not None:
            shim.store.put_sandbox(without_network(record))
    await shim.network.tear_down(pod)
    # A disk that refuses the checkpoint, perhaps because it is full, must not prevent a stop or a
    # removal, which may make room.
    try:
        await shim.checkpoints.amend(sandbox_id, partial(_marked, RELEASED))
    except FailedPrecondition as error:
        _logger.warning("%s; its network may be torn down once more", error)


def network_released(shim: Shim, sandbox_id: str) -> bool:
    """Whether a sandbox has no network of its own, or none any more."""
    checkpoint = shim.checkpoints.get(sandbox_id)
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    if record is not None and record.host_network:
        return True
    return checkpoint is not None and (
        bool(checkpoint.extra.get(RELEASED)) or (record is None and checkpoint.host_network)
    )


def _marked(mark: str, kept: Checkpoint) -> Checkpoint:
    return replace(kept, extra={**kept.extra, mark: True})


async def _try(failures: list[ServiceError], step: Callable[[], Awaitable[object]]) -> None:
    try:
        await step()
    except ServiceError as error:
        failures.append(error)


async def _end_sandbox(shim: Shim, sandbox_id: str) -> None:
    if not _runs(shim, sandbox_id):
        record = shim.store.sandboxes.get(SandboxId(sandbox_id))
        if record is None or not record.known_to_engine:
            return
        # A start whose end was not seen may have changed it.
        await shim.feed.refresh(sandbox_id)
        if not _runs(shim, sandbox_id):
            return
    try:
        await shim.engine.containers.stop(sandbox_id, STOP_GRACE_S)
        await shim.feed.refresh(sandbox_id, after="die")
    except NotFound:
        shim.feed.forget(sandbox_id)
        await shim.orphans.require_ended(sandbox_id)
    if _runs(shim, sandbox_id):
        raise Unavailable(
            f"sandbox {sandbox_id[:12]} runs although it was stopped; it was started again",
            subject=sandbox_id,
        )


def _runs(shim: Shim, sandbox_id: str) -> bool:
    record = shim.store.sandboxes.get(SandboxId(sandbox_id))
    return record is not None and bool(record.ready or record.pid)


async def _remove_container(shim: Shim, sandbox_id: str) -> None:
    await shim.engine.containers.remove(sandbox_id, force=True)
    shim.feed.forget(sandbox_id)
