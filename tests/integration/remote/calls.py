"""Calls of the client against a server of the tests': what they are given, and ways to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc

from asupervisor import errors
from asupervisor.remote import RemoteRuntimeService
from tests.integration.remote.server import CriServer

V1 = "v1"


V1ALPHA2 = "v1alpha2"


TIMEOUT_S = 20.0


@asynccontextmanager
async def runtime_of(
    server: CriServer, endpoint: str, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[RemoteRuntimeService]:
    async with (
        server.listening(endpoint),
        RemoteRuntimeService.connect(endpoint, timeout_s) as runtime,
    ):
        yield runtime


def answer(*responses: Any) -> Any:
    """A behaviour that answers so: one message, or the messages of a stream."""

    async def behaviour(_request: Any, _context: Any) -> Any:
        return responses[0] if len(responses) == 1 else list(responses)

    return behaviour


def fail(code: grpc.StatusCode, details: str) -> Any:
    async def behaviour(_request: Any, context: Any) -> Any:
        await context.abort(code, details)

    return behaviour


def hang() -> Any:
    async def behaviour(_request: Any, _context: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    return behaviour


async def until_available(runtime: RemoteRuntimeService) -> None:
    """Call until the server answers."""
    while True:
        try:
            await runtime.status()
            return
        except errors.Unavailable:
            await anyio.sleep(0.02)
