"""The boundary counts calls in flight, and draining waits for the last of them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from asupervisor.dockershim.rpc import boundary, methods
from asupervisor.dockershim.rpc.boundary import Boundary
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
