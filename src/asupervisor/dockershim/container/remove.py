"""RemoveContainer."""

from __future__ import annotations

import contextlib
import logging
import stat

from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.operations import operation_key
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import DeadlineExceeded, NotFound, Unavailable
from asupervisor.logs.target import hold_log_directory
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri

_logger = logging.getLogger(__name__)


async def remove_container(
    shim: Shim, request: cri.RemoveContainerRequest
) -> cri.RemoveContainerResponse:
    """Remove a container, by force if it runs (CRI); one that is not there is removed.

    Raises:
        FailedPrecondition: the engine does not have it, and its process runs.
    """
    try:
        record = shim.store.container(request.container_id)
    except NotFound:
        await shim.orphans.require_ended(request.container_id)
        return cri.RemoveContainerResponse()
    shim.engine.health.require("remove a container", record.id)

    async def work() -> None:
        now = shim.store.containers.get(record.id)
        if now is not None:
            await remove_engine_container(shim, now)

    await shim.operations.run(operation_key(record), "RemoveContainer", work)
    return cri.RemoveContainerResponse()


async def remove_engine_container(shim: Shim, record: ContainerRecord) -> None:
    """Remove a container and the link at its log path."""
    fields = container_fields(shim, record)
    farewell = await shim.hooks.leaves(record.id)
    await shim.engine.containers.remove(record.id, force=True)
    await shim.oci.remove(record.id)
    await shim.on_step("RemoveContainer.removed")
    path, engine_path = record.status.log_path, record.engine_log_path
    if path and engine_path:
        # The container is gone already: a log directory that hangs must not delay the answer.
        with contextlib.suppress(DeadlineExceeded, Unavailable):
            await shim.lanes.log_files.run(path, _unlink_log, path, engine_path)
    await farewell()
    shim.feed.forget(record.id)
    _logger.info(
        "removed container %s (%s)", record.status.metadata.name, record.id[:12], extra=fields
    )


def _unlink_log(path: str, engine_log_path: str) -> None:
    """Only a link to the engine's log of this container is ours to remove: a file is kubelet's,
    which collects it with the pod's log directory.
    """
    try:
        directory, name = hold_log_directory(path)
        with directory:
            status = directory.status(name)
            if (
                status is not None
                and stat.S_ISLNK(status.st_mode)
                and directory.link_target(name) == engine_log_path
            ):
                directory.unlink(name)
    except FileNotFoundError:
        return
    except OSError as error:
        _logger.warning("the log link %s could not be removed: %s", path, error)
