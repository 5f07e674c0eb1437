"""NRI plugins of the tests' own, over the real socket."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio

from asupervisor.config import Config, NriConfig
from asupervisor.nri.stub import PluginStub, api
from asupervisor.oci import RUNTIME
from asupervisor.oci.wrapper import install_wrapper
from tests.harness.engine import Engine, eventually
from tests.harness.service import service_config

Adjust = Callable[[api.PodSandbox, api.Container], api.CreateContainerResponse]


def nri_config(directory: Path, **changes: Any) -> NriConfig:
    """Settings with everything below a directory of the test."""
    settings: dict[str, Any] = {
        "socket_path": f"{directory}/nri/nri.sock",
        "plugin_path": f"{directory}/plugins",
        "plugin_config_path": f"{directory}/conf.d",
        **changes,
    }
    return NriConfig(**settings)


def config_with_nri(engine: Engine, directory: Path, **changes: Any) -> Config:
    """A service that takes plugins."""
    return service_config(engine, directory, nri=nri_config(directory, **changes))


class Watcher(PluginStub):
    """Keeps what it is told."""

    def __init__(self, name: str = "watcher", index: str = "50") -> None:
        super().__init__(name, index)
        self.told: list[tuple[str, api.PodSandbox, api.Container | None]] = []
        self.there: tuple[Sequence[api.PodSandbox], Sequence[api.Container]] = ((), ())

    def names(self, any_id: str = "") -> list[str]:
        """The events so far, of one pod or container where given."""
        return [
            name
            for name, pod, container in self.told
            if not any_id or any_id == (container.id if container is not None else pod.id)
        ]

    def last(self, name: str) -> tuple[api.PodSandbox, api.Container]:
        """What came with the last event of a name."""
        pod, container = next(
            (pod, container) for told, pod, container in reversed(self.told) if told == name
        )
        return pod, container or api.Container()

    async def synchronize(
        self, pods: Sequence[api.PodSandbox], containers: Sequence[api.Container]
    ) -> list[api.ContainerUpdate]:
        self.there = (pods, containers)
        return []

    async def _keep(self, name: str, *about: Any) -> None:
        self.told.append((name, about[0], about[1] if len(about) > 1 else None))

    async def run_pod_sandbox(self, pod: api.PodSandbox) -> None:
        await self._keep("RunPodSandbox", pod)

    async def update_pod_sandbox(self, pod: api.PodSandbox, *resources: Any) -> None:
        await self._keep("UpdatePodSandbox", pod)

    async def post_update_pod_sandbox(self, pod: api.PodSandbox) -> None:
        await self._keep("PostUpdatePodSandbox", pod)

    async def stop_pod_sandbox(self, pod: api.PodSandbox) -> None:
        await self._keep("StopPodSandbox", pod)

    async def remove_pod_sandbox(self, pod: api.PodSandbox) -> None:
        await self._keep("RemovePodSandbox", pod)

    async def create_container(self, pod: api.PodSandbox, container: api.Container) -> Any:
        await self._keep("CreateContainer", pod, container)

    async def post_create_container(self, pod: api.PodSandbox, container: api.Container) -> None:
        await self._keep("PostCreateContainer", pod, container)

    async def start_container(self, pod: api.PodSandbox, container: api.Container) -> None:
        await self._keep("StartContainer", pod, container)

    async def post_start_container(self, pod: api.PodSandbox, container: api.Container) -> None:
        await self._keep("PostStartContainer", pod, container)

    async def update_container(
        self, pod: api.PodSandbox, container: api.Container, resources: api.LinuxResources
    ) -> Any:
        await self._keep("UpdateContainer", pod, container)

    async def post_update_container(self, pod: api.PodSandbox, container: api.Container) -> None:
        await self._keep("PostUpdateContainer", pod, container)

    async def stop_container(self, pod: api.PodSandbox, container: api.Container) -> Any:
        await self._keep("StopContainer", pod, container)

    async def remove_container(self, pod: api.PodSandbox, container: api.Container) -> None:
        await self._keep("RemoveContainer", pod, container)


class Adjuster(PluginStub):
    """Answers each creation as it is told to."""

    def __init__(
        self,
        adjust: Callable[[api.ContainerAdjustment], None],
        name: str = "adjuster",
        index: str = "10",
    ) -> None:
        super().__init__(name, index)
        self.adjust = adjust

    async def create_container(
        self, pod: api.PodSandbox, container: api.Container
    ) -> api.CreateContainerResponse:
        adjust = api.ContainerAdjustment()
        self.adjust(adjust)
        return api.CreateContainerResponse(adjust=adjust)


@asynccontextmanager
async def plugged(directory: Path, *plugins: PluginStub) -> AsyncIterator[None]:
    """Plugins that are connected and synchronized as long as the block lasts."""
    async with anyio.create_task_group() as tasks:
        for plugin in plugins:
            tasks.start_soon(plugin.run, f"{directory}/nri/nri.sock")
            with anyio.fail_after(20):
                await plugin.synchronized.wait()
        yield
        for plugin in plugins:
            plugin.close()


@contextmanager
def oci_runtime(engine: Engine, directory: Path, **others: Any) -> Iterator[None]:
    """An engine that has the runtime which changes OCI documents, as its daemon.json names it.

    Args:
        engine: told of it by a reload.
        directory: of the service, as :func:`config_with_nri` has it.
        others: further runtimes.
    """
    settings = engine.root / "daemon.json"
    before = settings.read_text()
    path = install_wrapper(directory / "root").path

    def reload(runtimes: dict[str, Any]) -> None:
        settings.write_text(json.dumps({**json.loads(before), "runtimes": runtimes}))
        engine.signal(signal.SIGHUP)
        eventually(lambda: _paths(engine) == runtimes, "the engine has the runtimes")

    reload({RUNTIME: {"path": path}, **others})
    try:
        yield
    finally:
        reload({})
        settings.write_text(before)


def _paths(engine: Engine) -> dict[str, Any]:
    """The runtimes that are configured, beside those that an engine has anyway."""
    told = engine.request("GET", "/info")[1]["Runtimes"]
    return {
        name: {"path": one["path"]}
        for name, one in told.items()
        if name != "runc" and not name.startswith("io.containerd.")
    }
