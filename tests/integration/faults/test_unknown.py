"""A service that starts while the engine does not answer knows nothing, and says so."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service

Call = Callable[[RemoteRuntimeService, RemoteImageService, str, str], Awaitable[object]]

CLAIMS: dict[str, Call] = {
    "ListPodSandbox": lambda runtime, images, pod, container: runtime.list_pod_sandbox(),
    "ListContainers": lambda runtime, images, pod, container: runtime.list_containers(),
    "PodSandboxStatus": lambda runtime, images, pod, container: runtime.pod_sandbox_status(pod),
    "ContainerStatus": lambda runtime, images, pod, container: runtime.container_status(container),
    "StopContainer": lambda runtime, images, pod, container: runtime.stop_container(container, 5),
    "RemoveContainer": lambda runtime, images, pod, container: runtime.remove_container(container),
    "StopPodSandbox": lambda runtime, images, pod, container: runtime.stop_pod_sandbox(pod),
    "RemovePodSandbox": lambda runtime, images, pod, container: runtime.remove_pod_sandbox(pod),
    "ListContainerStats": lambda runtime, images, pod, container: runtime.list_container_stats(),
    "ListImages": lambda runtime, images, pod, container: images.list_images(),
    "ImageStatus": lambda runtime, images, pod, container: images.image_status(BUSYBOX_IMAGE),
    "RemoveImage": lambda runtime, images, pod, container: images.remove_image(BUSYBOX_IMAGE),
    "ImageFsInfo": lambda runtime, images, pod, container: images.image_fs_info(),
}


@pytest.fixture
def service(mortal_engine: Engine, directory: Path) -> Iterator[Service]:
    running = Service(mortal_engine, directory)
    running.start()
    yield running
    assert running.stop() == 0


async def test_a_restart_while_the_engine_is_frozen_loses_nothing(
    service: Service, mortal_engine: Engine
) -> None:
    ids: list[str] = []

    async def before() -> None:
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            config = pod_config("kept")
            ids.append(await runtime.run_pod_sandbox(config))
            ids.append(await runtime.create_container(ids[0], container_config(), config))
            await runtime.start_container(ids[1])

    async def frozen() -> None:
        async with (
            RemoteRuntimeService.connect(service.endpoint) as runtime,
            RemoteImageService.connect(service.endpoint) as images,
        ):
            assert (await runtime.version()).runtime_name == "docker"
            assert (await runtime.status()).status.conditions
            for name, call in CLAIMS.items():
                with anyio.fail_after(5), pytest.raises(Unavailable, match="not been read") as told:
                    await call(runtime, images, *ids)
                assert name in str(told.value)
            mortal_engine.signal(signal.SIGCONT)

            async def is_known() -> bool:
                try:
                    listed = await runtime.list_containers()
                except Unavailable:
                    return False
                # From the first answer on, it is the truth.
                assert [(one.id, one.state) for one in listed] == [(ids[1], cri.CONTAINER_RUNNING)]
                (sandbox,) = await runtime.list_pod_sandbox()
                assert (sandbox.id, sandbox.state) == (ids[0], cri.SANDBOX_READY)
                return True

            await until(is_known, "the node is known")
            await until(lambda: "ready: serving" in service.output, "it is ready")
            await runtime.stop_pod_sandbox(ids[0])
            await runtime.remove_pod_sandbox(ids[0])

    await before()
    assert service.stop() == 0
    mortal_engine.signal(signal.SIGSTOP)
    service.start(ready=False)
    await frozen()
