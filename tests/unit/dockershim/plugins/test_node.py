"""What plugins are told of the end of a container, and how often."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio

from asupervisor.dockershim.hooks import Farewell
from asupervisor.dockershim.plugins.node import NodePlugins
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from tests.harness.fake_engine import Answer, FakeEngine
from tests.harness.ground import CONTAINER, Ground


class Told:
    """Stands for the plugins: keeps the names of the events that they are told of."""

    names = ("logger",)

    def __init__(self) -> None:
        self.events: list[str] = []

    async def stop(self, _: api.StopContainerRequest) -> None:
        self.events.append("STOP_CONTAINER")

    async def tell(self, event: api.Event, _: Any) -> None:
        self.events.append(api.Event.Name(event))


async def _called(farewell: Farewell) -> None:
    await farewell()


async def test_an_end_that_is_read_while_the_container_is_removed_is_told_once_and_before(
    tmp_path: Path,
) -> None:
    reading = f"GET /containers/{CONTAINER}/json"
    with FakeEngine(tmp_path / "engine.sock") as fake:
        ground = Ground(fake, tmp_path / "root")
        async with ground.up() as tasks:
            plugins, told = NodePlugins(ground.shim, tasks), Told()
            plugins.registry = told  # type: ignore[assignment]
            farewell = await plugins.leaves(CONTAINER)
            answer, before = threading.Event(), ground.asked(reading)

            def late() -> Answer:
                assert answer.wait(20)
                return 200, fake.containers[CONTAINER]

            fake.answers[reading] = late
            async with anyio.create_task_group() as both:
                both.start_soon(plugins.stopped, CONTAINER)
                await ground.until_asked(reading, before + 1)
                both.start_soon(_called, farewell)
                await anyio.wait_all_tasks_blocked()
                answer.set()
    assert told.events == ["STOP_CONTAINER", "REMOVE_CONTAINER"]
