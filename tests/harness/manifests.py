"""Manifests of small pods, as mappings, and a start that is given up."""

from __future__ import annotations

from typing import Any

import anyio

from asupervisor.client import Client, State
from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.pods import SLEEPER, until

SHELL = ("sh", "-c")
RUNS = {"command": list(SLEEPER)}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A manifest; containers are ``main``, ``other`` where they have no name."""
    names = iter(("main", "other"))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "containers": [container(next(names), **each) for each in containers],
            **spec,
        },
    }


def container(name: str, script: str = "", **fields: Any) -> dict[str, Any]:
    """One that runs a script, or what its fields say."""
    command = {"command": [*SHELL, script]} if script else {}
    return {"name": name, "image": BUSYBOX_IMAGE, **command, **fields}


async def leave_while_it_starts(client: Client, manifest: dict[str, Any]) -> None:
    """Enter the block of a pod that never becomes ready, and leave it once its container runs."""

    async def start() -> None:
        async with client.pod(manifest=manifest):
            raise AssertionError("it became ready")

    async def runs() -> bool:
        return any(each.state is State.RUNNING for each in await client.containers())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        await until(runs, "the container runs")
        tasks.cancel_scope.cancel()
