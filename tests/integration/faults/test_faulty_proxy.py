"""A proxy on the engine's socket cuts, delays, repeats and lies while pods come and go; afterwards
the service knows what is, and nothing is left.

``ASUPERVISOR_PROXY_SEED`` and ``ASUPERVISOR_PROXY_PODS`` (for each of four callers) make other and
longer runs."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.churning import agrees, checkpoints, churn, clear, is_ready
from tests.harness.engine import Engine
from tests.harness.faulty_proxy import FaultyProxy
from tests.harness.pods import until
from tests.harness.service import service_config

_SEED = int(os.environ.get("ASUPERVISOR_PROXY_SEED", "1"))
_PODS = int(os.environ.get("ASUPERVISOR_PROXY_PODS", "3"))
_CALLERS = 4


@pytest.mark.deadline(600 + 60 * _PODS)
async def test_nothing_is_left_and_nothing_is_untrue(engine: Engine, directory: Path) -> None:
    proxy = FaultyProxy(str(engine.socket), _SEED)
    done: list[str] = []
    async with proxy.serving(directory / "proxy.sock"):
        config = service_config(engine, directory, docker_endpoint=f"unix://{directory}/proxy.sock")
        async with Supervisor(config):
            proxy.probability = 0.1
            async with anyio.create_task_group() as tasks:
                for worker in range(_CALLERS):
                    tasks.start_soon(churn, config.runtime_endpoint, worker, _PODS, done)
            proxy.probability = 0.0
            await until(lambda: is_ready(config.runtime_endpoint), "the node is ready", 60)
            async with RemoteRuntimeService.connect(config.runtime_endpoint, 60) as runtime:
                for sandbox in await runtime.list_pod_sandbox():
                    if sandbox.state == cri.SANDBOX_NOTREADY:
                        # One whose stop failed half-way may run on; kubelet's next stop ends it.
                        await runtime.stop_pod_sandbox(sandbox.id)
                await until(lambda: agrees(runtime, engine), "it knows what is", 60)
                await clear(runtime)
                await until(lambda: agrees(runtime, engine), "and that nothing is left", 60)
    print(f"seed {_SEED}: {len(done)} of {_CALLERS * _PODS} pods went all the way; {proxy.thrown}")
    assert proxy.thrown
    assert engine.containers() == []
    assert checkpoints(directory / "root") == []
