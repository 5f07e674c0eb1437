"""An engine with live restore comes back with another store for images and containers: what it
forgot runs on, and is neither called stopped nor touched.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until, until_nothing
from tests.harness.service import service_config


def other_store(engine: Engine) -> dict[str, object]:
    """Settings by which an engine keeps images and containers another way: the other image store,
    or, where it has but one, another storage driver.
    """
    version = engine.request("GET", "/version")[1]["ApiVersion"]
    if tuple(map(int, version.split("."))) < (1, 44):
        return {"storage-driver": "vfs"}
    return {"features": {"containerd-snapshotter": not engine.containerd_store}}


async def test_what_another_store_hides_is_not_called_stopped(
    restoring_engine: Engine, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = restoring_engine
    settings = engine.root / "daemon.json"
    before, other = settings.read_text(), json.dumps(other_store(engine))

    def restart(content: str) -> None:
        engine.stop()
        settings.write_text(content)
        engine.start()

    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime, shim = supervisor.runtime, supervisor.shim
        assert shim is not None
        pod = pod_config("hidden", linux=cri.LinuxPodSandboxConfig())
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        await runtime.start_container(container_id)
        pids = [engine.inspect(one)["State"]["Pid"] for one in (sandbox_id, container_id)]

        async def listed(state: int) -> None:
            async def as_said() -> bool:
                items = await runtime.list_pod_sandbox()
                return [(item.id, item.state) for item in items] == [(sandbox_id, state)]

            await until(as_said, f"the sandbox is listed, and alone, with state {state}", 60)

        await anyio.to_thread.run_sync(restart, other)
        assert engine.containers() == []
        await until(lambda: "elsewhere than before" in caplog.text, "the change is told", 60)
        await listed(cri.SANDBOX_NOTREADY)
        for call, one, pid in (
            (runtime.stop_pod_sandbox, sandbox_id, pids[0]),
            (runtime.remove_pod_sandbox, sandbox_id, pids[0]),
            (runtime.stop_container, container_id, pids[1]),
            (runtime.remove_container, container_id, pids[1]),
        ):
            with pytest.raises(FailedPrecondition, match=f"its process {pid} runs"):
                await call(one)
        assert [item.id for item in await runtime.list_pod_sandbox()] == [sandbox_id]
        assert all(os.path.exists(f"/proc/{pid}") for pid in pids)  # noqa: ASYNC240
        await anyio.to_thread.run_sync(restart, before)
        await listed(cri.SANDBOX_READY)
        await until(lambda: container_id in shim.store.containers, "it is back")
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
        await until_nothing(engine.containers)
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)  # noqa: ASYNC240
