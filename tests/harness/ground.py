"""Verbs on an engine at the wire: everything of the node is real but the engine and the network,
which do what a test says.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from asupervisor.config import Config
from asupervisor.dockershim.operations import Operations
from asupervisor.dockershim.shim import Shim
from asupervisor.engine.client import EngineClient
from asupervisor.engine.probe import Probe
from asupervisor.errors import ServiceError
from asupervisor.network.plugin import PodNetwork
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.feed import Feed
from asupervisor.node.images import ImageFeed
from asupervisor.node.orphans import Orphans
from asupervisor.node.store import NodeStore
from asupervisor.oci.wrapper import OciFiles
from asupervisor.translate.checkpoint import Checkpoint
from tests.harness.fake_engine import Answer, FakeEngine, container_document

SANDBOX, CONTAINER = "a" * 64, "c" * 64


class Network:
    """A pod network that fails as long as it has an error."""

    def __init__(self) -> None:
        self.error: ServiceError | None = None
        self.torn_down: list[PodNetwork] = []

    async def tear_down(self, pod: PodNetwork) -> None:
        self.torn_down.append(pod)
        if self.error is not None:
            raise self.error


class Ground:
    """A ready pod ``default/web`` with a container, at first created, in an engine that starts,
    stops and removes what it is told to.

    Attributes:
        held: requests (``METHOD path``) that wait until their event is set, before they take
            effect.
        proc: where the kernel tells of processes; a test that has some in a container's cgroup
            makes its own.
        shim: what verbs take.
    """

    def __init__(self, fake: FakeEngine, root: Path) -> None:
        self.fake = fake
        self.root = root
        self.proc = Path("/proc")
        self.network = Network()
        self.held: dict[str, threading.Event] = {}
        self.shim: Any = None
        self.running: dict[str, bool] = {}
        self.add(SANDBOX, "k8s_POD_web_default_u1_0", sandbox=True)
        self.add(CONTAINER, "k8s_main_web_default_u1_0")
        self._state(SANDBOX, True)

    def add(self, any_id: str, name: str, sandbox: bool = False) -> None:
        """Let the engine have a container that was created."""
        labels = {} if sandbox else {"io.kubernetes.sandbox.id": SANDBOX}
        self.fake.containers[any_id] = container_document(any_id, name, sandbox, labels=labels)
        self._state(any_id, None)
        for method, path, effect in (
            ("POST", f"/containers/{any_id}/start", self._start),
            ("POST", f"/containers/{any_id}/stop", self._stop),
            ("DELETE", f"/containers/{any_id}", self._remove),
        ):
            self.fake.answers[f"{method} {path}"] = self._answer(f"{method} {path}", effect, any_id)

    def hold(self, request: str) -> threading.Event:
        """Let a request wait until the event that this returns is set."""
        self.held[request] = threading.Event()
        return self.held[request]

    def asked(self, request: str) -> int:
        """How often the engine heard a request."""
        return self.fake.requests.count(request)

    async def until_asked(self, request: str, times: int = 1) -> None:
        with anyio.fail_after(10):
            while self.asked(request) < times:  # noqa: ASYNC110 - the engine's thread tells nobody
                await anyio.sleep(0.005)

    def runs(self, any_id: str) -> bool:
        """Whether it runs in the engine."""
        return any_id in self.fake.containers and bool(
            self.fake.containers[any_id]["State"]["Running"]
        )

    def _answer(self, request: str, effect: Any, any_id: str) -> Any:
        def answer() -> Answer:
            if request in self.held:
                assert self.held[request].wait(20)
            if any_id not in self.fake.containers:
                return 404, {"message": "no such container"}
            effect(any_id)
            return 204, b""

        return answer

    def _start(self, any_id: str) -> None:
        self._state(any_id, True)
        self.fake.container_event("start", any_id)

    def _stop(self, any_id: str) -> None:
        if self.runs(any_id):
            self._state(any_id, False)
            self.fake.container_event("die", any_id)

    def _remove(self, any_id: str) -> None:
        del self.fake.containers[any_id]
        self.fake.container_event("destroy", any_id)

    def _state(self, any_id: str, running: bool | None) -> None:
        self.fake.containers[any_id]["State"] = {
            "Status": {True: "running", False: "exited", None: "created"}[running],
            "Running": bool(running),
            "Pid": 0,
            "ExitCode": 0,
            "StartedAt": "0001-01-01T00:00:00Z" if running is None else "2026-01-02T03:04:05Z",
            "FinishedAt": "2026-01-02T03:04:06Z" if running is False else "0001-01-01T00:00:00Z",
        }

    async def on_step(self, step: str) -> None:
        """Watches nothing; a test may put another in its place."""

    @asynccontextmanager
    async def up(self, timeout_s: float = 20.0) -> AsyncIterator[TaskGroup]:
        """Follow the engine; gives a group for callers of verbs.

        Args:
            timeout_s: the engine's deadline in seconds.
        """
        engine = EngineClient(self.fake.endpoint, timeout_s)
        store, checkpoints = NodeStore(), CheckpointStore(self.root)
        await checkpoints.load()
        if SANDBOX not in checkpoints.all:
            await checkpoints.write(
                SANDBOX, Checkpoint(name="web", namespace="default", complete=True)
            )
        await engine.open()
        async with anyio.create_task_group() as tasks:
            images = ImageFeed(engine, store, tasks, pinned=lambda tag: False)
            feed = Feed(engine, store, checkpoints, tasks, images)
            tasks.start_soon(feed.run)
            tasks.start_soon(Probe(engine, 0.05, 1.0).run)
            with anyio.fail_after(10):
                await engine.health.wait_ready()
            nothing: Any = SimpleNamespace()
            network: Any = self.network
            self.shim = Shim(
                config=Config(runtime_endpoint="unix:///nowhere"),
                engine=engine,
                store=store,
                events=nothing,
                stats=nothing,
                logs=nothing,
                feed=feed,
                checkpoints=checkpoints,
                orphans=Orphans(self.root, engine, str(self.proc)),
                network=network,
                operations=Operations(tasks),
                pause=nothing,
                pulls=nothing,
                image_files=nothing,
                streaming=nothing,
                on_step=lambda step: self.on_step(step),
                oci=OciFiles(self.root / "oci" / "runtime"),
            )
            async with anyio.create_task_group() as callers:
                yield callers
            tasks.cancel_scope.cancel()
        await engine.close()
