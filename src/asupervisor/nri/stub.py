"""The plugin's side: a base class for plugins in Python. It works with any runtime that has NRI.

A plugin is a class with methods for the events that it wants; it is told of no others::

    class Labels(PluginStub):
        async def create_container(self, pod, container):
            adjust = api.ContainerAdjustment()
            adjust.env.add(key="POD", value=pod.name)
            return api.CreateContainerResponse(adjust=adjust)

    anyio.run(Labels("pod-name", "10").run)

If a method raises an error, the runtime gets it as the answer, and refuses what it asked about."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

import anyio
from google.protobuf.message import Message

from asupervisor.nri.connection import Connection, Lost, Refused
from asupervisor.nri.events import METHODS, RUNTIME_SERVICE, mask, response_class
from asupervisor.nri.mux import PLUGIN_CONNECTION, RUNTIME_CONNECTION
from asupervisor.nri.plugin import NRI_VERSION
from asupervisor.nri.ttrpc import UNIMPLEMENTED, UNKNOWN
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api

__all__ = ["PluginStub", "api"]

DEFAULT_SOCKET = "/var/run/nri/nri.sock"
_SNAKE = {
    event: "".join(f"_{one.lower()}" if one.isupper() else one for one in name).lstrip("_")
    for event, name in METHODS.items()
}
_ARGUMENTS = ("pod", "container", "overhead_linux_resources", "linux_resources")
"""Fields that a method gets as arguments, if the event has them."""


class PluginStub:
    """A plugin. A subclass has those of these methods that it wants; each is async:

    - ``run_pod_sandbox(pod)``, ``stop_pod_sandbox(pod)``, ``remove_pod_sandbox(pod)``,
      ``update_pod_sandbox(pod, overhead, resources)``, ``post_update_pod_sandbox(pod)``;
    - ``create_container(pod, container)``, ``update_container(pod, container, resources)``,
      ``stop_container(pod, container)``, which may return the event's response;
    - ``post_create_container``, ``start_container``, ``post_start_container``,
      ``post_update_container``, ``remove_container``, each with ``(pod, container)``;
    - ``validate_container_adjustment(request)``, which returns its response.

    Args:
        name: of the plugin; if the runtime started it, the runtime's name for it is used.
        index: two digits, its place in the order of plugins.
    """

    def __init__(self, name: str = "", index: str = "") -> None:
        self.name = os.environ.get("NRI_PLUGIN_NAME") or name
        self.index = os.environ.get("NRI_PLUGIN_IDX") or index
        self.synchronized = anyio.Event()
        """Set once the runtime has told what is there."""
        self._connection: Connection | None = None
        self._pods: list[api.PodSandbox] = []
        self._containers: list[api.Container] = []

    async def configure(self, config: str, runtime: str, version: str) -> None:
        """Called once, before anything else.

        Args:
            config: from the runtime's directory of configurations; empty if there is none.
            runtime, version: the runtime's name and version.
        """

    async def synchronize(
        self, pods: Sequence[api.PodSandbox], containers: Sequence[api.Container]
    ) -> list[api.ContainerUpdate]:
        """Called once, with all pods and containers. Returns the changes that the plugin wants."""
        return []

    async def run(self, path: str = DEFAULT_SOCKET) -> None:
        """Connect, register, and be told of events until the connection ends.

        Args:
            path: of the runtime's socket; not used if the runtime started the plugin.

        Raises:
            OSError: no runtime listens there.
            ConnectionError: the runtime refuses the plugin.
        """
        given = os.environ.get("NRI_PLUGIN_SOCKET")
        if given:
            peer = socket.socket(fileno=int(given))
        else:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer.connect(path)
        self._connection = connection = Connection(
            peer, self._serve, calls_on=RUNTIME_CONNECTION, serves_on=PLUGIN_CONNECTION
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.run)
            request = api.RegisterPluginRequest(
                plugin_name=self.name, plugin_idx=self.index, NRI_version=NRI_VERSION
            )
            try:
                await self._call("RegisterPlugin", request, api.Empty)
            except (Refused, Lost) as error:
                connection.close(str(error))
                raise ConnectionError(f"the runtime refuses the plugin: {error}") from error
            await connection.ended.wait()

    def close(self) -> None:
        """End the connection, and with it :meth:`run`."""
        if self._connection is not None:
            self._connection.close("the plugin ends")

    async def update_containers(
        self,
        updates: Sequence[api.ContainerUpdate],
        evictions: Sequence[api.ContainerEviction] = (),
    ) -> list[api.ContainerUpdate]:
        """Change containers without being asked; not from a method that the runtime has called.

        Returns:
            The updates that failed.

        Raises:
            Refused: the runtime refuses.
            Lost: the connection has ended.
        """
        request = api.UpdateContainersRequest(update=updates, evict=evictions)
        return list(
            (await self._call("UpdateContainers", request, api.UpdateContainersResponse)).failed
        )

    async def _call(self, method: str, request: Message, response: Any) -> Any:
        assert self._connection is not None
        return await self._connection.call(RUNTIME_SERVICE, method, request, response, 10.0)

    async def _serve(self, service: str, method: str, payload: bytes) -> bytes:
        try:
            return (await self._answer(method, payload)).SerializeToString()
        except Refused:
            raise
        except Exception as error:
            raise Refused(UNKNOWN, str(error) or type(error).__name__) from error

    async def _answer(self, method: str, payload: bytes) -> Message:
        if method == "Configure":
            request = api.ConfigureRequest.FromString(payload)
            await self.configure(request.config, request.runtime_name, request.runtime_version)
            return api.ConfigureResponse(events=mask(self._events()))
        if method == "Synchronize":
            return await self._synchronize(api.SynchronizeRequest.FromString(payload))
        event = next((event for event, name in METHODS.items() if name == method), None)
        if event is None or event not in self._events():
            raise Refused(UNIMPLEMENTED, f"this plugin has no {method}")
        argument: Any = getattr(api, f"{method}Request").FromString(payload)
        wanted = getattr(self, _SNAKE[event])
        if event == api.VALIDATE_CONTAINER_ADJUSTMENT:
            answer = await wanted(argument)
        else:
            fields = argument.DESCRIPTOR.fields_by_name
            answer = await wanted(*(getattr(argument, one) for one in _ARGUMENTS if one in fields))
        return answer if isinstance(answer, Message) else response_class(event)()

    def _events(self) -> list[api.Event]:
        return [event for event, name in _SNAKE.items() if hasattr(self, name)]

    async def _synchronize(self, request: api.SynchronizeRequest) -> api.SynchronizeResponse:
        self._pods += request.pods
        self._containers += request.containers
        if request.more:
            return api.SynchronizeResponse(more=True)
        pods, containers = self._pods, self._containers
        self._pods, self._containers = [], []
        updates = await self.synchronize(pods, containers)
        self.synchronized.set()
        return api.SynchronizeResponse(update=updates)
