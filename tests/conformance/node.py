"""A node under test: its two clients, the images that it can pull, and pods that are removed
again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.registry import Registry

SLEEP = ("sleep", "100000")
SH = "/bin/sh"
_counter = itertools.count()


def unique(prefix: str) -> str:
    """A name that no other object of this run has."""
    return f"{prefix}-{os.getpid()}-{next(_counter)}"


@dataclass
class Images:
    """References of the images that the suite pushed.

    Args:
        busybox: runs as root; knows the users ``app`` (1000:1000, in group 50000) and ``www-data``
            (1002:1003).
        by_uid, by_name, by_uid_gid: the same with ``User`` 1002, ``www-data``, ``1003:1004``.
        tagged: one image under three tags.
        labelled: it has the labels ``of-the-image`` and ``shared``.
        signal: its stop signal is SIGUSR1.
    """

    busybox: str
    by_uid: str
    by_name: str
    by_uid_gid: str
    tagged: tuple[str, ...]
    labelled: str
    signal: str


@dataclass
class Node:
    """Everything that a test is given.

    Args:
        runtime, images: clients.
        registry: where images come from.
        names: their references.
        version: what the server said of itself.
        status: likewise.
        log_root: where pods may have their logs.
    """

    runtime: RemoteRuntimeService
    images: RemoteImageService
    registry: Registry
    names: Images
    version: cri.VersionResponse
    status: cri.StatusResponse
    log_root: str
    pulled: dict[str, str] = field(default_factory=dict)
    ids_are_manifests: bool = False
    """Ids of images are the digests of their manifests (containerd image store)."""

    @property
    def is_docker(self) -> bool:
        """Whether Docker Engine is behind the server; what only it refuses, or answers in its own
        way, is asked of it alone.
        """
        return self.version.runtime_name == "docker"

    @property
    def features(self) -> cri.RuntimeHandlerFeatures:
        """Of the default runtime handler."""
        return next(
            (h.features for h in self.status.runtime_handlers if not h.name),
            cri.RuntimeHandlerFeatures(),
        )

    def only_docker(self, why: str) -> None:
        """Skip elsewhere."""
        if not self.is_docker:
            pytest.skip(why)

    @contextmanager
    def refused(
        self, kind: type[ServiceError] | tuple[type[ServiceError], ...], *words: str
    ) -> Iterator[None]:
        """The body must fail with that error, and its message must name what is meant.

        Other runtimes must refuse too, but most of them answer UNKNOWN whatever the cause, in words
        of their own."""
        with pytest.raises(ServiceError) as caught:
            yield
        if self.is_docker:
            assert isinstance(caught.value, kind), caught.value
            for word in words:
                assert word in caught.value.message
            for alien in ("Traceback", "Error(", "<class", "DockerError"):
                assert alien not in caught.value.message

    async def have(self, reference: str) -> str:
        """Pull an image once; returns its id."""
        if reference.startswith("sha256:"):
            return reference
        if reference not in self.pulled:
            self.pulled[reference] = await self.images.pull_image(reference)
        return self.pulled[reference]

    def pod_config(self, name: str = "", **fields: Any) -> cri.PodSandboxConfig:
        """A sandbox config with metadata of its own."""
        name = name or unique("pod")
        metadata = cri.PodSandboxMetadata(name=name, namespace="conformance", uid=unique("uid"))
        fields.setdefault("linux", cri.LinuxPodSandboxConfig())
        return cri.PodSandboxConfig(metadata=metadata, **fields)

    @asynccontextmanager
    async def pod(
        self, config: cri.PodSandboxConfig | None = None, handler: str = "", **fields: Any
    ) -> AsyncIterator[Pod]:
        """A sandbox, stopped and removed afterwards."""
        config = config or self.pod_config(**fields)
        sandbox_id = await self.runtime.run_pod_sandbox(config, handler)
        try:
            yield Pod(self, sandbox_id, config)
        finally:
            with anyio.CancelScope(shield=True):
                await self.runtime.stop_pod_sandbox(sandbox_id)
                await self.runtime.remove_pod_sandbox(sandbox_id)

    def security_pod(
        self, context: cri.LinuxSandboxSecurityContext, **fields: Any
    ) -> cri.PodSandboxConfig:
        """A sandbox config with a security context."""
        return self.pod_config(linux=cri.LinuxPodSandboxConfig(security_context=context), **fields)


@dataclass
class Pod:
    """A sandbox that runs."""

    node: Node
    id: str
    config: cri.PodSandboxConfig

    def container_config(
        self,
        command: tuple[str, ...] = SLEEP,
        *,
        image: str = "",
        name: str = "",
        security: cri.LinuxContainerSecurityContext | None = None,
        resources: cri.LinuxContainerResources | None = None,
        **fields: Any,
    ) -> cri.ContainerConfig:
        """A container config; as kubelet has it, with a pid namespace of its own unless told
        otherwise.
        """
        security = security or cri.LinuxContainerSecurityContext()
        if not security.HasField("namespace_options"):
            security.namespace_options.pid = cri.CONTAINER
        return cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name=name or unique("container")),
            image=cri.ImageSpec(image=image or self.node.names.busybox),
            command=command,
            linux=cri.LinuxContainerConfig(security_context=security, resources=resources),
            **fields,
        )

    async def create(self, command: tuple[str, ...] = SLEEP, **fields: Any) -> str:
        """Create a container; returns its id."""
        config = self.container_config(command, **fields)
        await self.node.have(config.image.image)
        return await self.node.runtime.create_container(self.id, config, self.config)

    async def run(self, command: tuple[str, ...] = SLEEP, **fields: Any) -> str:
        """Create and start a container; returns its id."""
        container_id = await self.create(command, **fields)
        await self.node.runtime.start_container(container_id)
        return container_id

    @asynccontextmanager
    async def container(
        self, command: tuple[str, ...] = SLEEP, **fields: Any
    ) -> AsyncIterator[str]:
        """A running container, removed afterwards."""
        container_id = await self.run(command, **fields)
        try:
            yield container_id
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(ServiceError):
                await self.node.runtime.remove_container(container_id)

    async def status(self, container_id: str) -> cri.ContainerStatus:
        """Its status."""
        return (await self.node.runtime.container_status(container_id)).status

    async def ended(self, container_id: str, timeout_s: float = 20.0) -> cri.ContainerStatus:
        """Its status once it has ended."""
        with anyio.fail_after(timeout_s):
            while (status := await self.status(container_id)).state != cri.CONTAINER_EXITED:
                await anyio.sleep(0.03)
        return status

    async def sh(self, container_id: str, script: str) -> str:
        """Run a shell script in a container; returns what it prints. It must succeed."""
        answer = await self.node.runtime.exec_sync(container_id, (SH, "-c", script), 20)
        assert answer.exit_code == 0, (script, answer)
        return answer.stdout.decode()

    async def fails(self, container_id: str, script: str) -> str:
        """Run a shell script that must not succeed; returns what it prints on either stream."""
        answer = await self.node.runtime.exec_sync(container_id, (SH, "-c", script), 20)
        assert answer.exit_code != 0, (script, answer)
        return (answer.stdout + answer.stderr).decode()

    async def see(self, script: str, **fields: Any) -> str:
        """What a shell script prints in a container of its own."""
        async with self.container(**fields) as container_id:
            return await self.sh(container_id, script)
