"""Accepting several calls at a time, where grpc.aio asks its core for one and waits.

grpc.aio asks for the next call only when the last one has passed from the thread that polls to the
event loop. With 16 callers that thread switch is the largest part of the cost of a read. With more
requests outstanding, several calls pass together: the same server then needs about a third less CPU
time for a call (docs/benchmarks.md).

This uses the functions with which grpc.aio serves a call itself. They are private, so they are used
only if they look as in the pinned release; otherwise the server works without this. The server's
own loop runs on beside these."""

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
"""Requests besides the one of grpc.aio itself; more did not help with 64 callers."""
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
    """Whether this grpcio has the private parts of the pinned release."""
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
    """The additional loops of one server that accept calls.

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
            # It waits for the client's cancellation and starts the call itself, so that no
            # cancellation is missed.
            task = loop.create_task(cygrpc._schedule_rpc_coro(call, state, loop))
            calls.add(task)
            task.add_done_callback(calls.discard)
