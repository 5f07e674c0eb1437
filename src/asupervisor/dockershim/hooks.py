"""What verbs tell the node's plugins and ask them. This module knows nothing of NRI. Without a
plugin :attr:`Hooks.plugins` is None and nothing is done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import anyio

from asupervisor.errors import DeadlineExceeded
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri

_QUIET_S = 30.0

Farewell = Callable[[], Awaitable[None]]
"""Tells that something that was described before is gone."""


class Shape(Protocol):
    """What plugins want to change of a container that was asked for."""

    def request(self, request: cri.CreateContainerRequest) -> cri.CreateContainerRequest:
        """The request with what the CRI has a field for.

        Raises:
            ServiceError: something that this engine cannot be given.
        """

    def body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body of ``POST /containers/create`` with what only the engine has a field for.

        Raises:
            ServiceError: something that this engine cannot be given.
        """

    @property
    def document(self) -> tuple[str, dict[str, Any]] | None:
        """What only the OCI runtime's document can carry, once there is a body: the real runtime,
        and what is to be changed (:mod:`asupervisor.oci`). None where the engine has a field for
        everything.
        """


class Plugins(Protocol):
    """The plugins that are there. Methods that only tell them something never raise; methods that
    ask them raise a ServiceError where one refuses.
    """

    @property
    def shapes(self) -> bool:
        """Whether a plugin wants to be asked about containers that are created."""

    async def run_pod(self, sandbox_id: str, addresses: tuple[str, ...]) -> None:
        """Ask about a pod that is about to be ready."""

    async def update_pod(self, request: cri.UpdatePodSandboxResourcesRequest) -> None:
        """Ask about new resources of a pod."""

    async def pod_updated(self, sandbox_id: str) -> None:
        """A pod has new resources."""

    async def pod_stopped(self, sandbox_id: str) -> None:
        """Nothing of a pod runs but its sandbox; told once."""

    async def pod_leaves(self, sandbox_id: str) -> Farewell:
        """Describe a pod that is to be removed."""

    async def create(self, container_id: str, like: Shape | None) -> Shape:
        """Ask what a container is to be like.

        Args:
            container_id: of the container.
            like: the answer about the container that was made as it was asked for. This one was
                made by that answer, and is described to the plugins like that one.
        """

    async def created(self, container_id: str) -> None:
        """A container is there."""

    async def start(self, container_id: str) -> None:
        """Ask about a container that is about to start."""

    async def started(self, container_id: str) -> None:
        """A container runs."""

    async def update(
        self, record: ContainerRecord, resources: cri.LinuxContainerResources
    ) -> tuple[cri.LinuxContainerResources, dict[str, Any]]:
        """Ask about new resources of a container.

        Returns:
            What it is to get, and settings of the engine beside that.
        """

    async def updated(self, container_id: str) -> None:
        """A container has new resources."""

    async def stopped(self, container_id: str) -> None:
        """A container has ended; told once."""

    async def leaves(self, container_id: str) -> Farewell:
        """Describe a container that is to be removed."""


async def no_farewell() -> None:
    """There is nothing to tell."""


class Hooks:
    """The plugins, if there are any.

    Code that makes a pod or a container holds a section, from the question to the plugins until it
    can be listed. A plugin joins while no section is held: what does not exist yet then, it hears
    of later as an event.

    Attributes:
        plugins: None until the first one comes, and where none is needed.
    """

    def __init__(self) -> None:
        self.plugins: Plugins | None = None
        self._sections = 0
        self._ended = anyio.Event()
        self._opened: anyio.Event | None = None
        self._starting: anyio.Event | None = None

    def hold_for_start(self) -> Callable[[], None]:
        """Delay all sections until the plugins that are started with the service have joined.
        Returns a function to call then.
        """
        self._starting = anyio.Event()
        return self._starting.set

    @asynccontextmanager
    async def section(self) -> AsyncIterator[Plugins | None]:
        """Hold a section; gives the plugins of that moment."""
        if self._starting is not None:
            await self._starting.wait()
        while self._opened is not None:
            await self._opened.wait()
        self._sections += 1
        try:
            yield self.plugins
        finally:
            self._sections -= 1
            self._ended.set()

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Delay all new sections, and wait for those that are held.

        Raises:
            DeadlineExceeded: one that is held does not end.
        """
        while self._opened is not None:
            await self._opened.wait()
        self._opened = anyio.Event()
        try:
            with anyio.move_on_after(_QUIET_S):
                while self._sections:
                    self._ended = anyio.Event()
                    await self._ended.wait()
            if self._sections:
                raise DeadlineExceeded(
                    f"what is being made does not come to its end within {_QUIET_S:g} s"
                )
            yield
        finally:
            opened, self._opened = self._opened, None
            opened.set()

    async def pod_leaves(self, sandbox_id: str) -> Farewell:
        """As :meth:`Plugins.pod_leaves`."""
        return await self.plugins.pod_leaves(sandbox_id) if self.plugins else no_farewell

    async def leaves(self, container_id: str) -> Farewell:
        """As :meth:`Plugins.leaves`."""
        return await self.plugins.leaves(container_id) if self.plugins else no_farewell

    async def stopped(self, container_id: str) -> None:
        """As :meth:`Plugins.stopped`."""
        if self.plugins is not None:
            await self.plugins.stopped(container_id)
