"""GetContainerEvents, from the node state."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri


async def get_container_events(shim: Shim, request: cri.GetEventsRequest) -> AsyncIterator[bytes]:
    """Every ContainerEventResponse from now on, until the client goes.

    Raises:
        ResourceExhausted: the client fell behind; it lists again and subscribes again.
        Unavailable: the service is stopping.
    """
    async for event in shim.events.subscribe():
        yield event
