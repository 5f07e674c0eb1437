"""A container as plugins want it.

Plugins are asked about a container by its id. Docker Engine gives the id only when it makes the
container, and can change little but resources afterwards. So a container is made as it was asked
for, and the plugins are asked. If they want something that cannot be changed any more, it is
removed, another one is made as they want it, and they are asked about that. Until they agree, none
of these containers is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from asupervisor.dockershim.hooks import Plugins, Shape
from asupervisor.dockershim.naming import create_named
from asupervisor.dockershim.rollback import Rollback
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import FailedPrecondition, Unavailable
from asupervisor.translate.container import ContainerPlan
from asupervisor.translate.resources import UPDATABLE

_ROUNDS = 3
_TOGETHER = {"Memory", "MemorySwap"}
"""The engine takes neither without the other."""


async def create_undoably(shim: Shim, name: str, body: dict[str, Any], undo: Rollback) -> str:
    """Create an engine container, and have it removed where a later step fails."""
    container_id = await create_named(shim, name, body)
    undo.push("show the container as it is", lambda: _show(shim, container_id))
    undo.push(
        "remove the container", lambda: shim.engine.containers.remove(container_id, force=True)
    )
    return container_id


async def shape_container(
    shim: Shim,
    plugins: Plugins,
    plan: ContainerPlan,
    replan: Callable[[Shape], Awaitable[ContainerPlan]],
    container_id: str,
    undo: Rollback,
) -> str:
    """Ask the plugins, and make the container what they want.

    Args:
        shim: the collaborators.
        plugins: asked.
        plan: what the container was made of.
        replan: the plan with what plugins want.
        container_id: of the container.
        undo: gets the steps that remove what is made here.

    Returns:
        The id of the container that the plugins have agreed to.

    Raises:
        ServiceError: one refuses, or wants what the engine cannot give, or something else each time
            that it is asked.
    """
    body, shape = plan.body, None
    for _ in range(_ROUNDS):
        await shim.feed.refresh(container_id, after="create")
        undo.push("tell the plugins", lambda made=container_id: _tell_gone(shim, made))  # type: ignore[misc]
        answer = await plugins.create(container_id, shape)
        shape = shape or answer
        wanted = (await replan(answer)).body
        change = {} if wanted == body else _update(body, wanted)
        if change is not None:
            if change:
                await shim.engine.containers.update(container_id, change)
            await _leave_document(shim, container_id, answer, undo)
            return container_id
        await _tell_gone(shim, container_id, remove=True)
        container_id = await create_undoably(shim, plan.name, wanted, undo)
        body = wanted
    raise FailedPrecondition(
        f"{plan.subject}: plugins want something else for each container that is made of it. Docker"
        " Engine gives a container its id when it is made and changes little of it afterwards, so"
        " what they want must not depend on the id",
        subject=container_id,
    )


async def _leave_document(shim: Shim, container_id: str, shape: Shape, undo: Rollback) -> None:
    if shape.document is not None:
        undo.push("remove its OCI document", lambda: shim.oci.remove(container_id))
        await shim.oci.write(container_id, *shape.document)


def _update(body: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any] | None:
    """What changes a container that was made of one body to the other; None where that cannot be
    changed.
    """
    keys = _differing(body["HostConfig"], wanted["HostConfig"])
    if _differing(body, wanted) != {"HostConfig"} or not keys <= UPDATABLE:
        return None
    if keys & _TOGETHER:
        keys |= _TOGETHER
    change = {key: wanted["HostConfig"].get(key) for key in keys}
    # For the engine a field that is missing, zero or empty means no change.
    return change if all(change.values()) else None


def _differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


async def _tell_gone(shim: Shim, container_id: str, *, remove: bool = False) -> None:
    farewell = await shim.hooks.leaves(container_id)
    if remove:
        await shim.engine.containers.remove(container_id, force=True)
    await farewell()
    if remove:
        shim.feed.forget(container_id)


async def _show(shim: Shim, container_id: str) -> None:
    """It is gone if it could be removed, and visible if not. While the engine does not answer that
    is not known; the next full reading shows it.
    """
    with contextlib.suppress(Unavailable):
        await shim.feed.refresh(container_id)
