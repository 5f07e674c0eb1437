"""Exec sessions take their turn to start, and keep nobody waiting once they run or have failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel

from asupervisor.dockershim.streaming.backend import EngineBackend
from asupervisor.dockershim.streaming.start_limiter import StartLimiter
from asupervisor.engine.client import EngineClient
from asupervisor.errors import NotFound
from asupervisor.node.store import NodeStore
from asupervisor.streaming.requests import ExecRequest

RECORD = SimpleNamespace(id="c", running=True)


class _Engine:
    """Creates execs at once; each runs from when the test says so."""

    def __init__(self) -> None:
        self.streams = self
        self.created: list[str] = []
        self.running: set[str] = set()

    async def create_exec(self, container: str, command: list[str], **_: object) -> str:
        self.created.append(command[0])
        if command[0] == "broken":
            raise NotFound("no such container", operation="exec")
        return command[0]

    @asynccontextmanager
    async def start_exec(self, exec_id: str, *, tty: bool) -> AsyncIterator[object]:
        yield object()

    async def inspect_exec(self, exec_id: str) -> dict[str, Any]:
        return {"Running": True, "Pid": int(exec_id in self.running)}


class _Store:
    def __init__(self) -> None:
        self.containers = {"c": RECORD}

    def container(self, container_id: str) -> SimpleNamespace:
        return RECORD

    def listen(self, listener: object) -> Callable[[], None]:
        return lambda: None


async def test_the_next_command_starts_when_one_runs_or_has_failed() -> None:
    engine = _Engine()
    backend = EngineBackend(cast(EngineClient, engine), cast(NodeStore, _Store()))
    backend._starts = StartLimiter(at_once=1, longest_s=3600.0)
    failed = anyio.Event()

    async def session(command: str) -> None:
        try:
            async with backend.exec(ExecRequest(container_id="c", command=(command,))):
                await anyio.sleep_forever()
        except NotFound:
            failed.set()

    async def created(count: int) -> None:
        while len(engine.created) < count:  # noqa: ASYNC110 (the engine tells nobody)
            await anyio.sleep(0.001)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for command in ("first", "broken", "last"):
                tasks.start_soon(session, command)
            await created(1)
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            assert engine.created == ["first"]
            engine.running.add("first")
            await failed.wait()
            await created(3)
            assert engine.created == ["first", "broken", "last"]
            tasks.cancel_scope.cancel()


async def test_a_client_that_goes_away_while_it_waits_starts_nothing() -> None:
    engine = _Engine()
    backend = EngineBackend(cast(EngineClient, engine), cast(NodeStore, _Store()))
    backend._starts = StartLimiter(at_once=1, longest_s=3600.0)
    place = await backend._starts.take()
    with anyio.move_on_after(0.01) as scope:
        async with backend.exec(ExecRequest(container_id="c", command=("never",))):
            pass
    assert scope.cancelled_caught
    place.leave()
    await anyio.lowlevel.checkpoint()
    assert engine.created == []
