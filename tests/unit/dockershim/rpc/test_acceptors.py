"""Taking in calls beside grpc.aio's own loop: every call is served, and a server with idle ones
stops.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from asupervisor.dockershim.rpc import acceptors
from asupervisor.dockershim.rpc.acceptors import Acceptors, supported

_CALLS = 200


class _Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers with what it was asked, once ``gate`` is open; ``/x/Refuse`` is aborted, others do
    not exist.
    """

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.waiting = 0
        self.cancelled = 0

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        handlers = {"/x/Echo": self._echo, "/x/Refuse": self._refuse}
        handler = handlers.get(details.method)
        return None if handler is None else grpc.unary_unary_rpc_method_handler(handler)

    async def _echo(self, request: bytes, context: Any) -> bytes:
        self.waiting += 1
        try:
            await self.gate.wait()
        except BaseException:
            self.cancelled += 1
            raise
        return request

    async def _refuse(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())
        return b""


async def _serve(directory: Path, handler: _Echo) -> tuple[grpc.aio.Server, Acceptors, str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    target = f"unix://{directory}/s"
    server.add_insecure_port(target)
    await server.start()
    taking = Acceptors(server, (handler,))
    taking.start()
    return server, taking, target


def test_the_pinned_grpcio_is_as_expected() -> None:
    """A new pin that fails here would serve at half the rate: see what changed in grpc.aio's own
    loop.
    """
    assert supported()


async def test_every_call_is_served_by_its_caller(tmp_path: Path) -> None:
    handler = _Echo()
    server, taking, target = await _serve(tmp_path, handler)
    answers: list[bytes] = []
    async with grpc.aio.insecure_channel(target) as channel, anyio.create_task_group() as tasks:

        async def call(number: int) -> None:
            word = b"%d" % number
            assert await channel.unary_unary("/x/Echo")(word) == word
            answers.append(word)

        for number in range(_CALLS):
            tasks.start_soon(call, number)
        with anyio.fail_after(10):
            while handler.waiting < _CALLS:  # noqa: ASYNC110 (all of them at once: no acceptor waits for a call to end)
                await anyio.sleep(0.001)
        handler.gate.set()
    assert len(set(answers)) == _CALLS
    await server.stop(0)
    await taking.stop()


async def test_errors_and_cancellation_pass(tmp_path: Path) -> None:
    handler = _Echo()
    server, taking, target = await _serve(tmp_path, handler)
    async with grpc.aio.insecure_channel(target) as channel:
        for _ in range(40):  # more than there are acceptors: an error ends none
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary("/x/Refuse")(b"why")
            assert (refused.value.code(), refused.value.details()) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "why",
            )
            with pytest.raises(grpc.aio.AioRpcError) as unknown:
                await channel.unary_unary("/x/Other")(b"")
            assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
        calls = [channel.unary_unary("/x/Echo")(b"") for _ in range(40)]
        with anyio.fail_after(10):
            while handler.waiting < len(calls):  # noqa: ASYNC110
                await anyio.sleep(0.001)
            for call in calls:
                call.cancel()
            while handler.cancelled < len(calls):  # noqa: ASYNC110
                await anyio.sleep(0.001)
    await server.stop(0)
    await taking.stop()


async def test_a_server_without_calls_stops_and_its_loops_end(tmp_path: Path) -> None:
    server, taking, _ = await _serve(tmp_path, _Echo())
    loops = list(taking._loops)
    assert loops and not any(task.done() for task in loops)
    with anyio.fail_after(10):
        await server.stop(0)
        await taking.stop()
    assert all(task.done() and not task.cancelled() and task.exception() is None for task in loops)


async def test_another_grpcio_serves_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(acceptors._SIGNATURES, "_handle_rpc", ("something", "else"))

    with caplog.at_level(logging.INFO):
        handler = _Echo()
        handler.gate.set()
        server, taking, target = await _serve(tmp_path, handler)
        async with grpc.aio.insecure_channel(target) as channel:
            assert await channel.unary_unary("/x/Echo")(b"a") == b"a"
        await server.stop(0)
        await taking.stop()
    assert "one call at a time" in caplog.text
