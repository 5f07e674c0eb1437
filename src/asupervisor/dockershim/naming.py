"""Creating an engine container under its name, also when another container has that name."""

from __future__ import annotations

import logging
import os

from asupervisor.dockershim.fields import sandbox_fields
from asupervisor.dockershim.sandbox.teardown import release_network
from asupervisor.dockershim.shim import Shim
from asupervisor.engine.session import Document
from asupervisor.errors import AlreadyExists, NotFound, ServiceError
from asupervisor.node.records import SandboxId
from asupervisor.translate.documents import document_id, flag

_logger = logging.getLogger(__name__)


async def create_named(shim: Shim, name: str, body: Document) -> str:
    """Create the container, with sealed labels. A pod's dead container that has the name is
    removed; one that runs is an error with its id.
    """

    async def create(name: str) -> str:
        labels = shim.feed.ownership.seal.sealed(body["Labels"], name)
        return await shim.engine.containers.create(name, {**body, "Labels": labels})

    try:
        return await create(name)
    except AlreadyExists as conflict:
        if await _make_way(shim, name, conflict):
            return await create(name)
        # The engine counts the name as taken although no container has it. Like the peers, add a
        # seventh part to it.
        return await create(f"{name}_{os.urandom(4).hex()}")


async def _make_way(shim: Shim, name: str, conflict: AlreadyExists) -> bool:
    """Remove the container that has a name; False when none has it.

    Raises:
        AlreadyExists: it runs, or it is not ours.
    """
    try:
        holder = await shim.engine.containers.inspect(name)
    except NotFound:
        return False
    holder_id = document_id(holder, "container")
    if shim.feed.ownership.origin(holder) is None:
        raise AlreadyExists(
            f"the name {name} is held by container {holder_id[:12]}, which is not a pod's",
            subject=name,
        ) from conflict
    record = shim.store.sandboxes.get(SandboxId(holder_id))
    if flag(holder, "State", "Running") and (record is None or record.ready):
        raise AlreadyExists(
            f"the name {name} is held by container {holder_id[:12]}, which runs", subject=name
        ) from conflict
    if record is not None:
        try:
            await release_network(shim, holder_id)
        except ServiceError as error:
            # The plugin goes on trying. Its checkpoint stays, so that the sandbox is visible as not
            # ready and kubelet has it stopped and removed.
            _logger.warning(
                "sandbox %s is replaced by a new one before its network is released: %s",
                holder_id[:12],
                error,
                extra=sandbox_fields(record),
            )
        else:
            await shim.checkpoints.remove(holder_id)
    await shim.engine.containers.remove(holder_id, force=record is not None)
    shim.feed.forget(holder_id)
    return True
