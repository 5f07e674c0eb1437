"""Checkpoints that are missing, corrupt or all that is left never hold up a stop or a removal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import service_config

GONE = "d" * 64


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "root" / "sandbox").iterdir())


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "not JSON", "wrong checksum", "of the in-tree dockershim"]
)
async def test_a_running_pod_survives_the_loss_of_its_checkpoint_and_can_be_cleared(
    engine: Engine, directory: Path, damage: str
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("damaged"))
        container_id = await supervisor.runtime.create_container(
            sandbox_id, container_config(), pod_config("damaged")
        )
        await supervisor.runtime.start_container(container_id)
        before = (await supervisor.runtime.pod_sandbox_status(sandbox_id)).status
    path = directory / "root" / "sandbox" / sandbox_id
    document = json.loads(path.read_text())
    if damage == "missing":
        path.unlink()
    else:
        del document["asupervisor"]
        path.write_text(
            {
                "empty": "",
                "not JSON": "{",
                "wrong checksum": json.dumps({**document, "checksum": 1}),
                "of the in-tree dockershim": json.dumps({**document, "checksum": 815459779}),
            }[damage]
        )
    async with Supervisor(service_config(engine, directory)) as supervisor:
        assert supervisor.shim is not None
        assert (sandbox_id in supervisor.shim.checkpoints.corrupt) == (
            damage not in ("missing", "of the in-tree dockershim")
        )
        after = (await supervisor.runtime.pod_sandbox_status(sandbox_id)).status
        # How its pid namespace was asked for is told by nothing but the checkpoint.
        after.linux.CopyFrom(before.linux)
        assert after == before, "the pod is as ready as it was"
        await supervisor.runtime.stop_pod_sandbox(sandbox_id)
        await supervisor.runtime.remove_pod_sandbox(sandbox_id)
        assert files(directory) == [] and engine.containers() == []
        assert supervisor.shim.checkpoints.corrupt == {}


async def test_a_sandbox_that_only_a_checkpoint_knows_is_shown_and_can_be_cleared(
    engine: Engine, directory: Path
) -> None:
    """As cri-dockerd wrote it, before somebody removed its container while no service ran."""
    (directory / "root" / "sandbox").mkdir(parents=True)
    (directory / "root" / "sandbox" / GONE).write_text(
        '{"version":"v1","name":"web","namespace":"prod","data":{},"checksum":2305795928}'
    )

    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        (shown,) = await runtime.list_pod_sandbox()
        assert (shown.id, shown.state) == (GONE, cri.SANDBOX_NOTREADY)
        assert (shown.metadata.name, shown.metadata.namespace) == ("web", "prod")
        await runtime.stop_pod_sandbox(GONE)
        assert [item.id for item in await runtime.list_pod_sandbox()] == [GONE]
        await runtime.remove_pod_sandbox(GONE)
        assert await runtime.list_pod_sandbox() == [] and files(directory) == []


async def test_only_a_corrupt_checkpoint_of_a_sandbox_that_is_gone_is_removed(
    engine: Engine, directory: Path
) -> None:
    (directory / "root" / "sandbox").mkdir(parents=True)
    (directory / "root" / "sandbox" / GONE).write_text("{")
    (directory / "root" / "sandbox" / "README").write_text("not a checkpoint")

    async with Supervisor(service_config(engine, directory)) as supervisor:
        await until(lambda: files(directory) == ["README"], "the corrupt checkpoint is gone")
        assert await supervisor.runtime.list_pod_sandbox() == []
