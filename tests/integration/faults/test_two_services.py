"""A second service on the same socket or the same root is refused, and harms nothing of the
first's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config
from tests.harness.service import Service


@pytest.fixture
def first(engine: Engine, directory: Path) -> Iterator[Service]:
    running = Service(engine, directory)
    running.start()
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("shared", ["socket", "root"])
async def test_the_second_is_refused(
    engine: Engine, first: Service, directory: Path, tmp_path: Path, shared: str
) -> None:
    second = Service(engine, directory / "second")
    if shared == "socket":
        second.socket, second.endpoint = first.socket, first.endpoint
    else:
        second.root = first.root

    async with RemoteRuntimeService.connect(first.endpoint) as runtime:
        config = pod_config("mine", log_directory=tmp_path)
        sandbox = await runtime.run_pod_sandbox(config)
        container = await runtime.create_container(
            sandbox, container_config(log_path="0.log"), config
        )
        await runtime.start_container(container)
        second.spawn()
        assert second.process is not None
        assert second.process.wait(30) not in (0, None)
        last = second.output.splitlines()[-1]
        assert str(first.socket if shared == "socket" else first.root) in last
        assert "Traceback" not in second.output
        status = (await runtime.container_status(container)).status
        assert status.state == cri.CONTAINER_RUNNING
        pods = await runtime.list_pod_sandbox()
        assert [(pod.id, pod.state) for pod in pods] == [(sandbox, cri.SANDBOX_READY)]
        await runtime.reopen_container_log(container)
        await runtime.stop_pod_sandbox(sandbox)
        await runtime.remove_pod_sandbox(sandbox)
