"""A feed with its probe that follows an engine at the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from asupervisor.engine.client import EngineClient
from asupervisor.engine.probe import Probe
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.feed import Feed
from asupervisor.node.images import ImageFeed
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri
from tests.harness.fake_engine import FakeEngine
from tests.harness.pods import until

A, B = "a" * 64, "b" * 64


def listed(store: NodeStore) -> list[cri.Container]:
    """What ListContainers answers."""
    return list(cri.ListContainersResponse.FromString(store.list_containers()).containers)


class Node:
    """A feed with its probe, following a fake engine."""

    def __init__(
        self, engine: EngineClient, store: NodeStore, checkpoints: CheckpointStore, feed: Feed
    ) -> None:
        self.engine, self.store, self.checkpoints, self.feed = engine, store, checkpoints, feed

    async def until(self, condition: Callable[[], Any]) -> None:
        await until(condition)


@asynccontextmanager
async def following(fake: FakeEngine, root: Path) -> AsyncIterator[Node]:
    engine = EngineClient(fake.endpoint, 5.0)
    store, checkpoints = NodeStore(), CheckpointStore(root)
    await checkpoints.load()
    await engine.open()
    with fake:
        async with anyio.create_task_group() as tasks:
            images = ImageFeed(engine, store, tasks, pinned=lambda names: False)
            feed = Feed(engine, store, checkpoints, tasks, images)
            tasks.start_soon(feed.run)
            tasks.start_soon(Probe(engine, 0.05, 1.0).run)
            with anyio.fail_after(30):
                await engine.health.wait_ready()
                await store.images_known.wait()
            yield Node(engine, store, checkpoints, feed)
            tasks.cancel_scope.cancel()
        await engine.close()
