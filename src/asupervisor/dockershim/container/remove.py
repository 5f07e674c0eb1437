"""RemoveContainer."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio.to_thread

from asupervisor.dockershim.fields import container_fields
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri

_logger = logging.getLogger("asupervisor.dockershim.container")


async def remove_container(
    shim: Shim, request: cri.RemoveContainerRequest
) -> cri.RemoveContainerResponse:
    """Remove a container, by force if it runs (CRI); one that is not there is removed."""
    try:
        record = shim.store.container(request.container_id)
    except NotFound:
        return cri.RemoveContainerResponse()
    shim.engine.health.require("remove a container", record.id)

    async def work() -> None:
        await remove_engine_container(shim, record)

    await shim.operations.run(record.engine_name or record.id, "RemoveContainer", work)
    return cri.RemoveContainerResponse()


async def remove_engine_container(shim: Shim, record: ContainerRecord) -> None:
    """Remove a container and the link at its log path."""
    fields = container_fields(shim, record)
    await shim.engine.containers.remove(record.id, force=True)
    await shim.on_step("RemoveContainer.removed")
    if record.log_path:
        await anyio.to_thread.run_sync(_unlink_log, record.log_path)
    shim.feed.forget(record.id)
    _logger.info(
        "removed container %s (%s)", record.status.metadata.name, record.id[:12], extra=fields
    )


def _unlink_log(path: str) -> None:
    """Only a link is ours to remove: a file is kubelet's, which collects it with the pod's log
    directory.
    """
    link = Path(path)
    try:
        if link.is_symlink():
            link.unlink()
    except OSError as error:
        _logger.warning("the log link %s could not be removed: %s", path, error)
