"""One service over the session's engine for these tests, and a pod maker that cleans up after each
test.
"""

from __future__ import annotations

import http.client
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import pod_cgroup
from tests.harness.service import Service


@pytest.fixture(scope="package")
def service(engine: Engine) -> Iterator[Service]:
    """The service, with its HTTP endpoint."""
    running = Service(engine, flags=("--metrics-bind-addr", "127.0.0.1:0", "--log-level", "debug"))
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
async def runtime(service: Service, engine: Engine) -> AsyncIterator[RemoteRuntimeService]:
    """A client of the service; nothing of what it made outlives the test."""
    try:
        async with RemoteRuntimeService.connect(service.endpoint) as connected:
            yield connected
            for pod in await connected.list_pod_sandbox():
                await connected.stop_pod_sandbox(pod.id)
                await connected.remove_pod_sandbox(pod.id)
    finally:
        engine.remove_all()


def metrics_address(service: Service) -> tuple[str, int]:
    """Where the service says that its metrics are."""
    host, _, port = service.pages_url.removeprefix("http://").rpartition(":")
    return host, int(port)


def samples(service: Service) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """One scrape: value by name and sorted labels."""
    connection = http.client.HTTPConnection(*metrics_address(service), timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it is true, without holding the event loop; fail after 20 s."""
    with anyio.fail_after(20):
        while not await anyio.to_thread.run_sync(condition):  # noqa: ASYNC110 - another process fulfils it
            await anyio.sleep(0.02)


def pod_config(name: str = "pod", **changes: Any) -> cri.PodSandboxConfig:
    """A pod with a cgroup of its own."""
    uid = uuid.uuid4().hex[:8]
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, namespace="tests", uid=uid),
        labels={"app": name},
        linux=cri.LinuxPodSandboxConfig(cgroup_parent=pod_cgroup(uid)),
        **changes,
    )


async def run_container(
    runtime: RemoteRuntimeService,
    sandbox_id: str,
    config: cri.PodSandboxConfig,
    command: str,
    name: str = "main",
    **changes: Any,
) -> str:
    """Create and start one; its id."""
    container = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name),
        image=cri.ImageSpec(image=BUSYBOX_IMAGE),
        command=["sh", "-c", command],
        **changes,
    )
    container_id = await runtime.create_container(sandbox_id, container, config)
    await runtime.start_container(container_id)
    return container_id
