"""CheckpointContainer: CRIU's images of a running container, written by the engine, and an archive
of them where the CRI wants it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import anyio.to_thread

from asupervisor.dockershim.container.archive import (
    IMAGES,
    check_location,
    clear_workplace,
    find_source,
    make_workplace,
    publish,
    write_archive,
)
from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.preconditions import wrong_state
from asupervisor.dockershim.shim import Shim
from asupervisor.engine.endpoint import socket_path
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Unimplemented,
)
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri

_logger = logging.getLogger(__name__)
_LATE_S = 600.0
"""Seconds to wait for a checkpoint that is too late, so that its files can be removed."""


async def checkpoint_container(
    shim: Shim, request: cri.CheckpointContainerRequest
) -> cri.CheckpointContainerResponse:
    """Write a checkpoint of a container, which runs on, to an archive.

    After ``timeout`` seconds (0: the request timeout) no archive is written any more; what the
    engine writes is removed when it is done.

    Raises:
        NotFound: no such container.
        InvalidArgument: the request names no location, or a relative one.
        FailedPrecondition: the container does not run, or CRIU refuses it or is not there.
        Unimplemented: the engine does not have the feature switched on.
        DeadlineExceeded: past the timeout.
    """
    record = shim.store.container(request.container_id)
    subject, location = f"container {record.id[:12]}", request.location
    _check(shim, request, record)
    await anyio.to_thread.run_sync(check_location, location, subject)
    source = await anyio.to_thread.run_sync(find_source, record)
    timeout_s = request.timeout or shim.config.runtime_request_timeout_s
    too_late = DeadlineExceeded(
        f"{subject}: its checkpoint was not done within {timeout_s:g} s", subject=record.id
    )
    deadline = anyio.current_time() + timeout_s

    async def work() -> None:
        workplace = await anyio.to_thread.run_sync(make_workplace, Path(shim.config.root_directory))
        try:
            await shim.engine.containers.create_checkpoint(
                record.id, IMAGES, str(workplace), timeout_s + _LATE_S
            )
            await shim.on_step("CheckpointContainer.written")
            part = await anyio.to_thread.run_sync(write_archive, workplace, source, location)
            if anyio.current_time() > deadline:
                raise too_late
            await anyio.to_thread.run_sync(publish, part, location)
        except Internal as error:
            # The engine reports as an internal error that CRIU is missing, or why it refused.
            raise FailedPrecondition(error.message, subject=record.id) from error
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(clear_workplace, workplace)
        _logger.info(
            "wrote a checkpoint of %s to %s",
            subject,
            location,
            extra=container_fields(shim, record),
        )

    # Not under the container's own key: it can be stopped and removed while CRIU works.
    action = f"CheckpointContainer {request.timeout} {location}"
    with anyio.CancelScope(deadline=deadline):
        await shim.operations.run(f"checkpoint {record.id}", action, work)
        return cri.CheckpointContainerResponse()
    raise too_late


def _check(shim: Shim, request: cri.CheckpointContainerRequest, record: ContainerRecord) -> None:
    """What is known without looking at the disk."""
    subject, location = f"container {record.id[:12]}", request.location
    if not location.startswith("/") or "\0" in location:
        raise InvalidArgument(
            f'{subject}: the location "{location}" of a checkpoint must be an absolute path',
            subject=record.id,
        )
    if request.timeout < 0:
        raise InvalidArgument(
            f"{subject}: the timeout of a checkpoint is negative", subject=record.id
        )
    if not record.running:
        raise wrong_state(record, "only a running one has a checkpoint")
    shim.engine.health.require("write a checkpoint", record.id)
    if not shim.engine.info.get("ExperimentalBuild"):
        raise Unimplemented(
            f"{subject}: a checkpoint is an experimental feature of Docker Engine, and this one"
            " runs without --experimental",
            subject=record.id,
        )
    if socket_path(shim.engine.endpoint) is None:
        raise FailedPrecondition(
            f"{subject}: Docker Engine runs on another machine, and so would its checkpoint be",
            subject=record.id,
        )
