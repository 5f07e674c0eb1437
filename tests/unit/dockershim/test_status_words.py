"""The words that go with a status: whatever they hold, the caller gets the status and their
beginning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from asupervisor.dockershim.rpc import boundary, methods
from asupervisor.dockershim.rpc.boundary import STATUS_BYTES, Boundary
from asupervisor.errors import NotFound
from asupervisor.metrics import Metrics
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri

WORDS = {
    "long": "no such image: " + "x" * 20_000,
    "long and not ASCII": "kein Bild: " + "ü" * 20_000,
    "very long": "y" * (4 << 20),
    "lines": "first\nsecond\r\nthird\x1b[2J\x9b2J\u2028fourth\u202e",
    "half a character": "a\ud800b",
    "zero": "a\0b",
    "empty": "",
}


@pytest.fixture(scope="module", autouse=True)
async def _one_loop() -> AsyncIterator[None]:
    """One event loop for the module: gRPC tells a loop of its last call after that has ended, and
    a closed one cannot be told.
    """
    yield  # noqa: PT022


@pytest.mark.parametrize("name", list(WORDS))
@pytest.mark.parametrize("method", ["Status", "GetContainerEvents"])
async def test_any_words_reach_the_caller_with_their_status(
    name: str, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def unary(shim: Any, request: Any) -> Any:
        raise NotFound(WORDS[name])

    async def streaming(shim: Any, request: Any) -> Any:
        raise NotFound(WORDS[name])
        yield

    replaced = [
        dataclasses.replace(one, **({"streaming": streaming} if one.streams else {"unary": unary}))
        for one in methods.all_methods()
    ]
    monkeypatch.setattr(boundary, "all_methods", lambda: replaced)
    shim: Any = SimpleNamespace(store=NodeStore(), engine=SimpleNamespace(version={}))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Boundary(shim, Metrics()),))
    address = f"unix://{tmp_path}/s.sock"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            path = f"/runtime.v1.RuntimeService/{method}"
            if method == "Status":
                answer = channel.unary_unary(path)(
                    cri.StatusRequest(verbose=True).SerializeToString()
                )
            else:
                answer = channel.unary_stream(path)(b"").read()
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await answer
    finally:
        await server.stop(None)
    details = failure.value.details() or ""
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    assert (
        details[:5] == WORDS[name][:5].replace("\0", "\\x00")[:5].replace("\ud800", "\\ud800")[:5]
    )
    assert len(details.encode()) <= STATUS_BYTES and len(details.splitlines()) <= 1
    assert details.endswith("…") == (len(WORDS[name]) > STATUS_BYTES)
