"""UpdateContainerResources: limits of a container changed in place; what the request leaves at zero
stays as it is (CRI).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import anyio.to_thread

from asupervisor.dockershim.container.cgroup_files import cgroup_features
from asupervisor.dockershim.container.limits import apply_limits, cgroup_settings_of
from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.operations import operation_key
from asupervisor.dockershim.preconditions import wrong_state
from asupervisor.dockershim.shim import Shim
from asupervisor.engine.session import Document
from asupervisor.errors import FailedPrecondition, Internal, InvalidArgument, ServiceError
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri
from asupervisor.translate.cgroup_files import CgroupSettings, cgroup_settings
from asupervisor.translate.inspected import sound_container
from asupervisor.translate.limits import Limits, with_changed_limits
from asupervisor.translate.resources import check_oom_score, clamp_oom_score, update_body

_logger = logging.getLogger(__name__)


async def update_container_resources(
    shim: Shim, request: cri.UpdateContainerResourcesRequest
) -> cri.UpdateContainerResourcesResponse:
    """Change a container's limits; ContainerStatus shows them before this answers.

    Raises:
        NotFound: no such container.
        InvalidArgument: a value that Linux or Docker Engine does not know.
        FailedPrecondition: it has ended, or the kernel refuses the change.
    """
    record = shim.store.container(request.container_id)
    subject = f"container {record.id[:12]}"
    _check(request, record.id)
    if not request.HasField("linux"):
        return cri.UpdateContainerResourcesResponse()
    resources = request.linux
    check_oom_score(resources.oom_score_adj, subject)
    shim.engine.health.require("update a container", record.id)
    features = await anyio.to_thread.run_sync(cgroup_features, shim.engine.endpoint)
    cgroup_settings(resources, features, subject)

    async def work() -> None:
        wanted, beside = resources, dict[str, Any]()
        if plugins := shim.hooks.plugins:
            wanted, beside = await plugins.update(shim.store.container(record.id), resources)
        await change_resources(shim, record.id, wanted, beside)
        _logger.info("updated %s", subject, extra=container_fields(shim, record))
        if plugins:
            await plugins.updated(record.id)

    # With its content: a different update of the same container does not join this one, but waits.
    action = f"UpdateContainerResources {resources.SerializeToString(deterministic=True).hex()}"
    await shim.operations.run(operation_key(record), action, work)
    return cri.UpdateContainerResourcesResponse()


async def change_resources(
    shim: Shim, container_id: str, resources: cri.LinuxContainerResources, beside: Mapping[str, Any]
) -> None:
    """Change a container's limits in place.

    Args:
        shim: the collaborators.
        container_id: of the container.
        resources: what is zero stays as it is.
        beside: settings of ``POST /containers/{id}/update`` for which the CRI has no field.

    Raises:
        ServiceError: as :func:`update_container_resources`.
    """
    subject = f"container {container_id[:12]}"
    features = await anyio.to_thread.run_sync(cgroup_features, shim.engine.endpoint)
    limits = Limits(cgroup_settings(resources, features, subject))
    async with shim.changing.hold(container_id):
        now = record = shim.store.container(container_id)
        if now.status.state not in (cri.CONTAINER_CREATED, cri.CONTAINER_RUNNING):
            raise wrong_state(now, "its resources cannot be changed")
        if resources.oom_score_adj:
            score = _score(resources.oom_score_adj, shim, now, features.local)
            limits |= Limits(oom_score_adj=score)
        document = sound_container(await shim.engine.containers.inspect(record.id))
        host_config: Document = document["HostConfig"]
        if (
            now.running
            and resources.memory_swap_limit_in_bytes < 0
            and host_config.get("MemorySwap") != -1
        ):
            # The engine would record it, but not change the kernel's limit.
            raise FailedPrecondition(
                f"{subject} runs; Docker Engine lifts its swap limit only before the start",
                subject=record.id,
            )
        body = {**update_body(resources, host_config), **beside}
        try:
            await _change(shim, now, body, limits)
        except ServiceError as error:
            # After a change that stopped half-way the status must show what is in force.
            with contextlib.suppress(ServiceError):
                await shim.feed.refresh(record.id)
            if isinstance(error, Internal):
                # The engine reports as an internal error what the kernel refused.
                raise FailedPrecondition(error.message, subject=record.id) from error
            raise
        await shim.feed.refresh(record.id)


def _check(request: cri.UpdateContainerResourcesRequest, container_id: str) -> None:
    subject = f"container {container_id[:12]}"
    if request.HasField("windows"):
        raise InvalidArgument(
            f"{subject}: this node runs Linux; the windows resources cannot be applied",
            subject=container_id,
        )
    if request.annotations:
        keys = ", ".join(sorted(request.annotations))
        raise InvalidArgument(
            f"{subject}: no experimental resource is known under the annotations {keys}",
            subject=container_id,
        )


async def _change(shim: Shim, record: ContainerRecord, body: Document, limits: Limits) -> None:
    """Change what the engine can change, then the rest, and record what was changed of the rest.
    For a container that does not run it is set at its start.
    """
    if body:
        await shim.engine.containers.update(record.id, body)
    # Under the systemd driver a change by the engine resets the files that systemd manages to
    # systemd's own values.
    lost = Limits(
        CgroupSettings(
            unified=cgroup_settings_of(record.status.resources.linux).unified if body else {}
        )
    )
    if lost and record.running:
        await anyio.to_thread.run_sync(apply_limits, lost, record.pid, record.id)
    done = Limits()
    try:
        for one in limits.each():
            if record.running:
                await anyio.to_thread.run_sync(apply_limits, one, record.pid, record.id)
            done |= one
    finally:
        if done:
            await _keep(shim, record, done)


async def _keep(shim: Shim, record: ContainerRecord, limits: Limits) -> None:
    containers = {container.id for container in shim.store.containers_of(record.sandbox_id)}
    if not await shim.checkpoints.amend(
        record.sandbox_id, lambda kept: with_changed_limits(kept, record.id, limits, containers)
    ):
        _logger.warning(
            "container %s has the new limits, but its status tells the old ones: sandbox %s has no"
            " checkpoint to keep them in",
            record.id[:12],
            record.sandbox_id[:12],
            extra=container_fields(shim, record),
        )


def _score(asked: int, shim: Shim, record: ContainerRecord, local: bool) -> int | None:
    """The score to set; the one in force is never refused, since kubelet repeats it."""
    score = clamp_oom_score(asked, shim.engine.oom_floor)
    if not local and score != record.status.resources.linux.oom_score_adj:
        raise FailedPrecondition(
            f"container {record.id[:12]}: oom_score_adj cannot be changed: Docker Engine runs on"
            " another machine",
            subject=record.id,
        )
    return score if local else None
