"""Starts the support for NRI plugins, and connects it to the verbs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from anyio.abc import TaskGroup

from asupervisor.dockershim.shim import Shim
from asupervisor.nri.service import NriService

if TYPE_CHECKING:
    from asupervisor.nri.registry import Registry


async def start_plugins(shim: Shim, tasks: TaskGroup) -> None:
    """Start the plugins in the node's directory, and let others connect. To be called before the
    CRI is served, so that the started plugins see every pod that is made.

    Args:
        shim: the verbs' collaborators.
        tasks: in which the plugins are served.
    """
    config = shim.config.nri
    if config.disable:
        return

    @cache
    def registry() -> Registry:
        # Imported with the first plugin: most nodes have none.
        from asupervisor.dockershim.plugins.node import NodePlugins

        return NodePlugins(shim, tasks).registry

    if config.validates:
        registry()
    service = NriService(
        config, registry, shim.store.containers_known.wait, shim.hooks.hold_for_start
    )
    await tasks.start(service.run, name="NRI plugins")
