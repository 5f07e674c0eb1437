"""A container that mounts its log directory harms no log but its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import until
from tests.harness.service import service_config
from tests.hostile.tenants import run_pod

SPEAKER = ("sh", "-c", "trap 'exit 0' TERM; while :; do echo a line; sleep 0.1; done")


@pytest.mark.parametrize(
    "flood",
    [
        "truncate -s 1099511627776 /logs/0.log",
        "yes '' | head -c 16777216 >> /logs/0.log",
    ],
    ids=["a file of a tebibyte", "empty lines"],
)
async def test_a_log_without_end_keeps_no_other_log_waiting(
    engine: Engine, directory: Path, flood: str
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        logs = directory / "logs"
        neighbour = await run_pod(
            supervisor,
            "log-neighbour",
            BUSYBOX_IMAGE,
            logs / "neighbour",
            command=SPEAKER,
            log_path="main/0.log",
        )
        mount = cri.Mount(container_path="/logs", host_path=str(logs / "tenant" / "main"))
        tenant = await run_pod(
            supervisor,
            "log-tenant",
            BUSYBOX_IMAGE,
            logs / "tenant",
            command=("sh", "-c", f"echo first; sleep 1; {flood}"),
            log_path="main/0.log",
            mounts=[mount],
        )
        log = logs / "neighbour" / "main" / "0.log"

        async def exited() -> bool:
            return (await tenant.status()).state == cri.CONTAINER_EXITED

        await until(exited, "the tenant's end")
        before = log.stat().st_size
        await until(lambda: log.stat().st_size > before, "the neighbour's log goes on")
        await neighbour.remove()
        await tenant.remove()
