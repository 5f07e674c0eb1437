"""Somebody ends with ``docker`` what a call is just making: that is no OK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import service_config


@pytest.mark.parametrize("what", ["DELETE {}?force=1", "POST {}/kill", "POST {}/restart?t=0"])
async def test_a_sandbox_that_somebody_ends_while_it_is_made_is_not_answered_ok(
    engine: Engine, directory: Path, what: str
) -> None:
    async def interfere(step: str) -> None:
        if step != "RunPodSandbox.networked" or seen:
            return
        (found,) = engine.containers()
        seen.append(found["Id"])
        before = supervisor.shim.store.sandboxes[found["Id"]]
        method, path = what.format(f"/containers/{found['Id']}").split()
        assert engine.request(method, path)[0] == 204

        def is_known() -> bool:
            now = supervisor.shim.store.sandboxes.get(found["Id"])
            return now is None or not now.pid or now.started != before.started

        await until(is_known, "it is known")

    seen: list[str] = []
    supervisor: Any
    async with Supervisor(service_config(engine, directory), on_step=interfere) as supervisor:
        with pytest.raises(FailedPrecondition, match="while the sandbox was made"):
            await supervisor.runtime.run_pod_sandbox(pod_config("ended"))
        assert engine.containers() == [] and not list((directory / "root/sandbox").iterdir())
        assert await supervisor.runtime.list_pod_sandbox() == []


async def test_a_container_that_somebody_removes_while_it_is_made_is_not_answered_ok(
    engine: Engine, directory: Path
) -> None:
    async def interfere(step: str) -> None:
        if step == "CreateContainer.logged":
            (found,) = (one["Id"] for one in engine.containers() if one["Id"] != sandbox_id)
            store = supervisor.shim.store
            await until(lambda: not store.absent(found), "it was heard of")
            assert engine.request("DELETE", f"/containers/{found}?force=1")[0] == 204
            await until(lambda: store.absent(found), "its end was heard of")

    supervisor: Any
    async with Supervisor(service_config(engine, directory), on_step=interfere) as supervisor:
        runtime, config = supervisor.runtime, pod_config("ended")
        sandbox_id = await runtime.run_pod_sandbox(config)
        with pytest.raises(FailedPrecondition, match="while it was made"):
            await runtime.create_container(sandbox_id, container_config(), config)
        assert await runtime.list_containers() == []
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
