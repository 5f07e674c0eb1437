"""A pod with a container on a real engine, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.service import Service, running_service


@dataclass
class Pod:
    """One sandbox and its first container, which sleeps."""

    service: Service
    engine: Engine
    sandbox_id: str = ""
    container_id: str = ""
    config: cri.PodSandboxConfig = field(default_factory=cri.PodSandboxConfig)
    containers: int = 0

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[RemoteRuntimeService]:
        """A client of the service."""
        async with RemoteRuntimeService.connect(self.service.endpoint) as runtime:
            yield runtime

    async def start(self, name: str = "stream", host_network: bool = False) -> None:
        """Run the sandbox and the container."""
        self.config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, namespace="default", uid=f"uid-{name}")
        )
        if host_network:
            self.config.linux.security_context.namespace_options.network = cri.NODE
        async with self.runtime() as runtime:
            self.sandbox_id = await runtime.run_pod_sandbox(self.config)
        self.container_id = await self.add(
            ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]
        )

    async def add(self, command: list[str], **settings: bool) -> str:
        """Create and start a further container; returns its id."""
        self.containers += 1
        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name=f"c{self.containers}"),
            image=cri.ImageSpec(image=BUSYBOX_IMAGE),
            command=command,
            **settings,  # type: ignore[arg-type]
        )
        async with self.runtime() as runtime:
            container_id = await runtime.create_container(self.sandbox_id, config, self.config)
            await runtime.start_container(container_id)
        return container_id


@pytest.fixture(scope="module")
def service(engine: Engine) -> Iterator[Service]:
    """The service as a process of its own, and the word that it ended well."""
    with running_service(engine) as running:
        yield running


@pytest.fixture(scope="module")
def pod(service: Service, engine: Engine) -> Pod:
    """A pod that runs."""
    made = Pod(service, engine)
    anyio.run(made.start)
    return made
