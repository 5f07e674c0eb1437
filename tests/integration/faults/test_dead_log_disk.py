"""The file server of one pod's logs dies under the service, which is killed and started again: that
pod can be ended, the others notice nothing, and what can still be written is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.bridged_node import Pod, counts_on, run_pod
from tests.harness.churning import agrees
from tests.harness.dead_mount import dead_mount
from tests.harness.engine import Engine
from tests.harness.pods import until
from tests.harness.service import Service


@pytest.fixture
def service(engine: Engine, directory: Path) -> Iterator[Service]:
    running = Service(engine, directory)
    running.start()
    yield running
    assert running.stop() == 0


async def test_the_pods_whose_logs_hang_can_be_ended_and_the_others_live(
    service: Service, engine: Engine, directory: Path
) -> None:
    mount, pods = directory / "mount", list[Pod]()

    async def before() -> None:
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            for name, logs in (("ends", mount), ("waits", mount), ("lives", directory)):
                pods.append(await run_pod(runtime, name, logs))
                await counts_on(pods[-1])

    async def dead() -> None:
        ends, waits, lives = pods
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            assert all(one.status for one in (await runtime.status()).status.conditions)
            await until(lambda: agrees(runtime, engine), "it knows what is")
            await counts_on(lives)
            other = await run_pod(runtime, "other", directory)
            await counts_on(other)
            await runtime.stop_container(ends.container, 10)
            status = (await runtime.container_status(ends.container)).status
            assert (status.state, status.exit_code) == (cri.CONTAINER_EXITED, 0)
            for pod in (ends, other):
                await runtime.stop_pod_sandbox(pod.sandbox)
                await runtime.remove_pod_sandbox(pod.sandbox)
            await until(lambda: agrees(runtime, engine), "it knows what is")
            assert len(await runtime.list_pod_sandbox()) == 2
            await runtime.stop_container(waits.container, 10)

    async def after() -> None:
        _, waits, lives = pods
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            await until(
                lambda: waits.numbers() == waits.engine_numbers(engine), "its log is complete", 60
            )
            await counts_on(lives)
            for pod in (waits, lives):
                await runtime.stop_pod_sandbox(pod.sandbox)
                await runtime.remove_pod_sandbox(pod.sandbox)

    await before()
    with dead_mount(mount):
        service.kill()
        service.start()
        await dead()
    await after()
