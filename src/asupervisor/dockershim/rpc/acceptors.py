"""Taking in several calls at a time, where grpc.aio asks its core for one and waits.

Every call that grpc.aio takes in is asked for alone: the next one is asked for when the last one
has crossed from the thread that polls to the event loop. With 16 callers that crossing is what a
read costs most for. With more requests outstanding, calls cross together: the same server then
needs about a third less CPU time for a call (docs/benchmarks.md).

The means are the ones with which grpc.aio serves a call itself, and they are private: they are used
only where they look as they do in the release that is pinned; elsewhere the server does without.
The server's own loop keeps running beside these."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
import grpc
import grpc.aio
from grpc._cython import cygrpc

_logger = logging.getLogger(__name__)
_OUTSTANDING = 15
"""Beside the one of grpc.aio itself; more gained nothing at 64 callers."""
_END_S = 1.0
_SIGNATURES = {
    "_handle_rpc": (
        "generic_handlers",
        "interceptors",
        "rpc_state",
        "loop",
        "concurrency_exceeded",
    ),
    "_schedule_rpc_coro": ("rpc_coro", "rpc_state", "loop"),
}


def supported() -> bool:
    """Whether this grpcio is built as the pinned release is."""
    for name, expected in _SIGNATURES.items():
        code = getattr(getattr(cygrpc, name, None), "__code__", None)
        if code is None or code.co_varnames[: code.co_argcount] != expected:
            return False
    server = getattr(cygrpc, "AioServer", None)
    return (
        hasattr(server, "_request_call")
        and hasattr(server, "is_running")
        and hasattr(cygrpc, "_RequestCallError")
    )


class Acceptors:
    """The further loops of one server that take in calls.

    Args:
        server: a started server without interceptors and without a limit of concurrent calls.
        handlers: the generic handlers that it was given.
    """

    def __init__(
        self, server: grpc.aio.Server, handlers: tuple[grpc.GenericRpcHandler, ...]
    ) -> None:
        self._server: Any = getattr(server, "_server", None)
        self._handlers = list(handlers)
        self._loops: list[asyncio.Task[None]] = []
        self._calls: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Ask for calls from now on, until the server stops."""
        if self._server is None or not supported():
            _logger.info(
                "grpcio %s takes in one call at a time: reads under load cost about half as much"
                " again",
                grpc.__version__,
            )
            return
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self._accept(loop), name="CRI calls taken in")
            for _ in range(_OUTSTANDING)
        ]

    async def stop(self) -> None:
        """Return once the loops have ended, as they do when the server has stopped."""
        with anyio.move_on_after(_END_S, shield=True):
            await asyncio.gather(*self._loops, return_exceptions=True)
        for task in self._loops:
            task.cancel()

    async def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        server, handlers, calls = self._server, self._handlers, self._calls
        while server.is_running():
            try:
                state = await server._request_call()
            except cygrpc._RequestCallError:
                return  # the server stops
            call = cygrpc._handle_rpc(handlers, (), state, loop, False)
            # Awaits the client's cancellation; the call is started from in there, so that none is
            # missed.
            task = loop.create_task(cygrpc._schedule_rpc_coro(call, state, loop))
            calls.add(task)
            task.add_done_callback(calls.discard)
