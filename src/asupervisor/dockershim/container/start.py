"""StartContainer."""

from __future__ import annotations

import contextlib
import logging

import anyio.to_thread

from asupervisor.dockershim.container.limits import apply_limits, cgroup_settings_of, has_ended
from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.operations import Ticket, operation_key
from asupervisor.dockershim.preconditions import wrong_state
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, Internal, InvalidArgument, NotFound, ServiceError
from asupervisor.logs.target import Target
from asupervisor.proto import cri
from asupervisor.translate.limits import Limits, changed_limits

_logger = logging.getLogger(__name__)
_CLEANUP_DEADLINE_S = 30.0


async def start_container(
    shim: Shim, request: cri.StartContainerRequest
) -> cri.StartContainerResponse:
    """Start a container that was created.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it ran already, it or its sandbox is being stopped or its sandbox is not
            ready, or the engine could not start it (the status then says ContainerCannotRun).
    """
    record = shim.store.container(request.container_id)
    shim.engine.health.require("start a container", record.id)

    async def work(ticket: Ticket) -> None:
        _check(shim, record.id)
        if record.log_path and shim.config.container_log_format == "cri":
            path = record.log_path
            await shim.lanes.log_files.run(path, _make_log_file, path, record.id)
        if shim.hooks.plugins:
            await shim.hooks.plugins.start(record.id)
        _check(shim, record.id)
        ticket.commit()
        try:
            await shim.engine.containers.start(record.id)
        except ServiceError as error:
            shim.operations.doubt(record.id)
            await shim.hooks.stopped(record.id)
            # The status must show what happened, in case the caller does not keep the error.
            with contextlib.suppress(ServiceError):
                await shim.feed.refresh(record.id)
            if (
                isinstance(error, (Internal, InvalidArgument, NotFound))
                and record.id in shim.store.containers
            ):
                # The container exists, so this error means that it cannot be run, although the HTTP
                # status says that the engine failed or that the request is wrong.
                raise FailedPrecondition(error.message, subject=record.id) from error
            raise
        await shim.on_step("StartContainer.started")
        await shim.feed.refresh(record.id, after="start")
        await _limit(shim, record.id)
        if shim.hooks.plugins:
            await shim.hooks.plugins.started(record.id)
        name = record.status.metadata.name
        _logger.info(
            "started container %s (%s)", name, record.id[:12], extra=container_fields(shim, record)
        )

    await shim.operations.run_within(
        (record.sandbox_id, record.id), operation_key(record), "StartContainer", work
    )
    return cri.StartContainerResponse()


def _check(shim: Shim, container_id: str) -> None:
    """Whether it may be started, from what is true now."""
    record = shim.store.container(container_id)
    if record.status.state != cri.CONTAINER_CREATED:
        raise wrong_state(record, "it cannot be started")
    sandbox = shim.store.sandboxes.get(record.sandbox_id)
    if sandbox is None or not sandbox.ready:
        raise FailedPrecondition(
            f"container {record.id[:12]} cannot be started: its sandbox {record.sandbox_id[:12]} is"
            " not ready",
            subject=record.id,
        )


def _make_log_file(path: str, container_id: str) -> None:
    """Make the log file before the first line is written: the caller may open it as soon as the
    start is answered.
    """
    try:
        Target(path).close()
    except OSError as error:
        raise FailedPrecondition(
            f"container {container_id[:12]}: its log file {path} cannot be made: {error}"
        ) from error


async def _limit(shim: Shim, container_id: str) -> None:
    """Set the limits for which the engine has no field; a container that cannot have them must not
    run without them.
    """
    record = shim.store.container(container_id)
    resources = record.status.resources.linux
    # The engine sets the score of the creation; it does not know one that was changed since.
    score = changed_limits(shim.checkpoints.get(record.sandbox_id), container_id).oom_score_adj
    limits = Limits(cgroup_settings_of(resources), score)
    if not limits or not record.running:
        return
    try:
        await anyio.to_thread.run_sync(apply_limits, limits, record.pid, record.id)
    except ServiceError:
        if await anyio.to_thread.run_sync(has_ended, record.pid):
            # It ended before its limits could be set, so nothing runs without them.
            return
        with (
            anyio.move_on_after(_CLEANUP_DEADLINE_S, shield=True),
            contextlib.suppress(ServiceError),
        ):
            await shim.engine.containers.stop(container_id, 0)
            await shim.feed.refresh(container_id)
        raise
