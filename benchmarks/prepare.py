"""Pods to measure with: made through the project's own client on any CRI server, and removed
again.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from benchmarks.methods import Subjects

LABEL = "asupervisor.benchmark"
AT_A_TIME = 4
_TIMEOUT_S = 120.0
# Process 1 of a container ignores SIGTERM unless it handles it; a well-behaved workload does.
COMMAND = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait $!")


def new_run() -> str:
    """A word that no other run of the benchmark has: pods of two servers over one engine must not
    bear one name.
    """
    return secrets.token_hex(4)


def pod_config(name: str, run: str, host_network: bool, logs: Path) -> cri.PodSandboxConfig:
    """A pod as kubelet describes one; its log directory is made, as kubelet makes it.

    Args:
        name: of the pod among those of the run; its uid follows from both.
        run: from :func:`new_run`.
        host_network: whether it shares the host's network.
        logs: a directory for the logs of all pods.
    """
    name = f"{name}-{run}"
    log_directory = logs / name
    log_directory.mkdir()
    network = cri.NODE if host_network else cri.POD
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, namespace="benchmark", uid=f"uid-{name}"),
        labels={
            LABEL: run,
            "io.kubernetes.pod.name": name,
            "io.kubernetes.pod.namespace": "benchmark",
            "io.kubernetes.pod.uid": f"uid-{name}",
        },
        annotations={
            "kubernetes.io/config.seen": "2026-01-01T00:00:00.000000000Z",
            "kubernetes.io/config.source": "api",
        },
        log_directory=str(log_directory),
        linux=cri.LinuxPodSandboxConfig(
            security_context=cri.LinuxSandboxSecurityContext(
                namespace_options=cri.NamespaceOption(network=network, pid=cri.CONTAINER)
            ),
        ),
    )


def container_config(name: str, image: str, pod: cri.PodSandboxConfig) -> cri.ContainerConfig:
    """A container as kubelet describes one; it runs until it is stopped."""
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name),
        image=cri.ImageSpec(image=image),
        command=list(COMMAND),
        log_path=f"{name}.log",
        labels={
            "io.kubernetes.container.name": name,
            **{
                key: pod.labels[key]
                for key in (
                    "io.kubernetes.pod.name",
                    "io.kubernetes.pod.namespace",
                    "io.kubernetes.pod.uid",
                )
            },
        },
        annotations={
            "io.kubernetes.container.hash": "f00dcafe",
            "io.kubernetes.container.restartCount": "0",
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.terminationMessagePolicy": "File",
            "io.kubernetes.pod.terminationGracePeriod": "30",
        },
        linux=cri.LinuxContainerConfig(
            security_context=cri.LinuxContainerSecurityContext(
                namespace_options=pod.linux.security_context.namespace_options
            )
        ),
    )


async def ensure_image(endpoint: str, image: str) -> None:
    """Have the server pull the image unless it has it.

    Raises:
        ServiceError: it cannot be had.
    """
    async with RemoteImageService.connect(endpoint, _TIMEOUT_S) as images:
        if not (await images.image_status(image)).HasField("image"):
            await images.pull_image(image)


@asynccontextmanager
async def pods(
    endpoint: str, pods: int, containers: int, image: str, host_network: bool
) -> AsyncIterator[None]:
    """While the block lasts, the server runs ``pods`` pods with ``containers`` containers in all,
    spread evenly.

    Raises:
        ServiceError: they cannot be made; what was made is removed.
    """
    await ensure_image(endpoint, image)
    limit, run = anyio.CapacityLimiter(AT_A_TIME), new_run()
    with tempfile.TemporaryDirectory(prefix="asupervisor-benchmark-", dir="/var/tmp") as logs:
        async with (
            RemoteRuntimeService.connect(endpoint, _TIMEOUT_S) as runtime,
            removing(runtime, run),
        ):

            async def make(number: int) -> None:
                async with limit:
                    config = pod_config(f"bench-{number}", run, host_network, Path(logs))
                    sandbox_id = await runtime.run_pod_sandbox(config)
                    for index in range(number, containers, pods):
                        container = container_config(f"c{index}", image, config)
                        await runtime.start_container(
                            await runtime.create_container(sandbox_id, container, config)
                        )

            async with anyio.create_task_group() as tasks:
                for number in range(pods):
                    tasks.start_soon(make, number)
            yield


@asynccontextmanager
async def removing(runtime: RemoteRuntimeService, run: str) -> AsyncIterator[None]:
    """Remove a run's pods when the block ends, however it ends."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_TIMEOUT_S):
            await _remove_all(runtime, run)


async def _remove_all(runtime: RemoteRuntimeService, run: str) -> None:
    """Remove every pod that carries the run's label."""
    limit = anyio.CapacityLimiter(AT_A_TIME)

    async def remove(sandbox_id: str) -> None:
        async with limit:
            try:
                await runtime.stop_pod_sandbox(sandbox_id)
                await runtime.remove_pod_sandbox(sandbox_id)
            except NotFound:
                return

    async with anyio.create_task_group() as tasks:
        for sandbox in await runtime.list_pod_sandbox(
            cri.PodSandboxFilter(label_selector={LABEL: run})
        ):
            tasks.start_soon(remove, sandbox.id)


async def subjects(endpoint: str, image: str) -> Subjects:
    """A pod, a container and an image of the server, to ask about: the last of each that it
    lists.
    """
    running = cri.ContainerFilter(state=cri.ContainerStateValue(state=cri.CONTAINER_RUNNING))
    async with RemoteRuntimeService.connect(endpoint, _TIMEOUT_S) as runtime:
        containers = await runtime.list_containers(running)
        sandboxes = [container.pod_sandbox_id for container in containers] or [
            item.id for item in await runtime.list_pod_sandbox()
        ]
    if not image:
        async with RemoteImageService.connect(endpoint, _TIMEOUT_S) as images:
            names = [
                name for item in await images.list_images() for name in (*item.repo_tags, item.id)
            ]
        image = names[0] if names else ""
    return Subjects(
        sandboxes[-1] if sandboxes else "", containers[-1].id if containers else "", image
    )
