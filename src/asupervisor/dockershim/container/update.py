"""UpdateContainerResources: limits of a container changed in place; what the request leaves at zero stays as it is (CRI)."""

from __future__ import annotations

import logging
import os

import anyio.to_thread

from asupervisor.dockershim.cgroup_files import cgroup_features, write_cgroup_files
from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, Internal, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.cgroup_files import cgroup_settings
from asupervisor.translate.resources import check_oom_score, clamp_oom_score, update_body

_logger = logging.getLogger("asupervisor.dockershim.container")


async def update_container_resources(shim: Shim, request: cri.UpdateContainerResourcesRequest) -> cri.UpdateContainerResourcesResponse:
    """Change a container's limits; ContainerStatus shows them before this answers.

    Raises:
        NotFound: no such container.
        InvalidArgument: what Linux or Docker Engine has no meaning for.
        FailedPrecondition: it has ended, or the kernel refuses the change (a memory limit below what is in use).
    """
    record = shim.store.container(request.container_id)
    subject = f"container {record.id[:12]}"
    if request.HasField("windows"):
        raise InvalidArgument(f"{subject}: this node runs Linux; the windows resources cannot be applied", subject=record.id)
    if request.annotations:
        keys = ", ".join(sorted(request.annotations))
        raise InvalidArgument(f"{subject}: no experimental resource is known under the annotations {keys}", subject=record.id)
    if not request.HasField("linux"):
        return cri.UpdateContainerResourcesResponse()
    resources = request.linux
    check_oom_score(resources.oom_score_adj, subject)
    shim.engine.health.require("update a container", record.id)
    features = await anyio.to_thread.run_sync(cgroup_features, shim.engine.endpoint)
    settings = cgroup_settings(resources, features, subject)

    async def work() -> None:
        now = shim.store.container(record.id)
        if now.status.state not in (cri.CONTAINER_CREATED, cri.CONTAINER_RUNNING):
            state = cri.ContainerState.Name(now.status.state)
            raise FailedPrecondition(f"{subject} is in state {state}; its resources cannot be changed", subject=record.id)
        if settings and not now.running:
            raise FailedPrecondition(
                f"{subject} does not run, so it has no cgroup to set huge pages or cgroup v2 keys of", subject=record.id
            )
        document = await shim.engine.containers.inspect(record.id)
        try:
            if body := update_body(resources, document["HostConfig"]):
                await shim.engine.containers.update(record.id, body)
        except Internal as error:
            # The engine passes on as its own failure what the kernel refused.
            raise FailedPrecondition(error.message, operation="UpdateContainerResources", subject=record.id) from error
        if settings:
            await anyio.to_thread.run_sync(write_cgroup_files, settings, now.pid, record.id)
        if resources.oom_score_adj and now.running and features.local:
            score = clamp_oom_score(resources.oom_score_adj, shim.engine.oom_floor)
            await anyio.to_thread.run_sync(_set_oom_score, now.pid, score, subject)
        await shim.feed.refresh(record.id)
        _logger.info("updated %s", subject, extra=container_fields(shim, record))

    # By its content: a different update of the same container waits for its turn instead of joining this one.
    action = f"UpdateContainerResources {resources.SerializeToString(deterministic=True).hex()}"
    await shim.operations.run(record.engine_name or record.id, action, work)
    return cri.UpdateContainerResourcesResponse()


def _set_oom_score(pid: int, score: int, subject: str) -> None:
    """The engine has no call for it; the first process gets it, and what it starts from then on."""
    path = f"/proc/{pid}/oom_score_adj"
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, str(score).encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FailedPrecondition(f"{subject}: oom_score_adj {score} cannot be set: {error}") from error
