"""The boundary counts calls in flight, and draining waits for the last of them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import anyio
import grpc
import pytest

from asupervisor.dockershim.rpc import boundary, methods
from asupervisor.dockershim.rpc.boundary import Boundary
from asupervisor.errors import NotFound
from asupervisor.metrics import Metrics
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_drain_waits_for_the_last_call_and_only_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, entered = anyio.Event(), anyio.Event()

    async def status(shim: Any, request: cri.StatusRequest) -> cri.StatusResponse:
        entered.set()
        await gate.wait()
        return cri.StatusResponse(info={"a": "b"})

    slow = [
        dataclasses.replace(one, unary=status) if one.name == "Status" else one
        for one in methods.all_methods()
    ]
    monkeypatch.setattr(boundary, "all_methods", lambda: slow)
    store = NodeStore()
    store.containers_known.set()
    shim: Any = SimpleNamespace(store=store, engine=SimpleNamespace(version={"Version": "1"}))
    served = Boundary(shim, Metrics())

    def handler(name: str) -> Any:
        found = served.service(SimpleNamespace(method=f"/runtime.v1.RuntimeService/{name}"))
        assert found is not None
        return found.unary_unary

    answers: list[bytes] = []
    with anyio.fail_after(10):
        await served.drain()  # nothing is in flight

        async def call() -> None:
            answers.append(await handler("Status")(b"", None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await entered.wait()
            drained = anyio.Event()

            async def drain() -> None:
                await served.drain()
                assert answers
                drained.set()

            tasks.start_soon(drain)
            # Others come and go meanwhile; they are not what is waited for.
            assert await handler("ListContainers")(b"", None) == b""
            assert (
                cri.VersionResponse.FromString(
                    await handler("Version")(b"", None)
                ).runtime_api_version
                == "v1"
            )
            assert served.in_flight == 1 and not drained.is_set()
            gate.set()
        assert drained.is_set() and served.in_flight == 0
        await served.drain()
    assert cri.StatusResponse.FromString(answers[0]).info == {"a": "b"}


class _Stream:
    """What a handler of a stream is given of a call; its first write waits for the client."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reads = anyio.Event()
        self.aborted: tuple[str, str] | None = None

    async def write(self, answer: bytes) -> None:
        self.written.append(answer)
        await self.reads.wait()

    async def abort(self, code: grpc.StatusCode, words: str) -> None:
        self.aborted = (code.name, words)
        raise RuntimeError("aborted")


def _streaming_boundary(monkeypatch: pytest.MonkeyPatch, verb: Any) -> tuple[Boundary, Any]:
    changed = [
        dataclasses.replace(one, streaming=verb) if one.name == "StreamContainers" else one
        for one in methods.all_methods()
    ]
    monkeypatch.setattr(boundary, "all_methods", lambda: changed)
    store = NodeStore()
    store.containers_known.set()
    shim: Any = SimpleNamespace(
        store=store, engine=SimpleNamespace(version={}), containers={}, sandboxes={}
    )
    served = Boundary(shim, Metrics())
    found = served.service(SimpleNamespace(method="/runtime.v1.RuntimeService/StreamContainers"))
    assert found is not None
    return served, found.unary_stream


async def test_a_stream_whose_client_does_not_read_is_in_flight_until_it_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def verb(shim: Any, request: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield b"second"

    served, handler = _streaming_boundary(monkeypatch, verb)
    context = _Stream()

    async def call() -> None:
        with pytest.raises(RuntimeError, match="aborted"):
            await handler(b"", context)

    async with anyio.create_task_group() as calls:
        calls.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert (served.in_flight, context.written) == (1, [b"first"])
        served.cut_off()
    assert context.aborted == (
        "UNAVAILABLE",
        "the service stopped before StreamContainers ended",
    )
    assert (served.in_flight, context.written) == (0, [b"first"])


async def test_a_stream_that_fails_half_way_keeps_what_it_said_and_tells_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def verb(shim: Any, request: Any) -> AsyncIterator[bytes]:
        yield b"first"
        raise NotFound("it went")

    served, handler = _streaming_boundary(monkeypatch, verb)
    context = _Stream()
    context.reads.set()
    with pytest.raises(RuntimeError, match="aborted"):
        await handler(b"", context)
    assert (context.written, context.aborted) == ([b"first"], ("NOT_FOUND", "it went"))
    assert served.in_flight == 0
