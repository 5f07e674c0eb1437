"""Between a service and its engine: a proxy that cuts, delays, repeats events, and answers errors,
garbage and half of a body, by a seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

FAULTS = ("delay", "error", "garbage", "half", "cut", "lost answer")
_LARGEST_DELAY_S = 0.5


class FaultyProxy:
    """Each request that comes to the engine meets a fault with a probability.

    Requests on one connection are told apart by their request lines; the one connection of the
    events has each of its pieces repeated instead, and is cut now and then.

    Args:
        engine: path of the engine's socket.
        seed: of what is drawn.

    Attributes:
        probability: of a fault for each request; 0 passes everything on.
        thrown: how many of each kind there were.
    """

    def __init__(self, engine: str, seed: int) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self.probability = 0.0
        self.thrown: Counter[str] = Counter()

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[None]:
        """Listen on a socket at ``path`` while the block lasts."""
        async with anyio.create_task_group() as tasks:
            server = await asyncio.start_unix_server(
                lambda reader, writer: tasks.start_soon(self._serve, reader, writer), path
            )
            try:
                yield
            finally:
                server.close()
                tasks.cancel_scope.cancel()

    def _draw(self, line: bytes) -> str:
        """The fault of a request; empty for none. The ping has none: an engine that does not answer
        it is another test's matter.
        """
        if b"/_ping" in line or self._random.random() >= self.probability:
            return ""
        fault = "cut" if b"/events" in line else self._random.choice(FAULTS)
        self.thrown[fault] += 1
        return fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                back, forth = await asyncio.open_unix_connection(self._engine)
            except OSError:
                writer.close()
                return
            try:
                await self._pass(reader, writer, back, forth)
            finally:
                writer.close()
                forth.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
    ) -> None:
        state = {"fault": "", "events": ""}

        async def answers() -> None:
            while data := await back.read(65536):
                fault, state["fault"] = state["fault"], ""
                if fault == "lost answer":
                    return
                if fault == "half":
                    writer.write(data[: len(data) // 2])
                    return
                writer.write(data)
                await writer.drain()
                if state["events"] and self.probability:
                    # An event is a line in a chunk of its own: the very piece once more.
                    if data.startswith(b"HTTP/"):
                        continue
                    self.thrown["repeated events"] += 1
                    writer.write(data)
                    if self._random.random() < self.probability / 8:
                        self.thrown["cut events"] += 1
                        return

        async with anyio.create_task_group() as tasks:

            async def first(direction: Coroutine[Any, Any, None]) -> None:
                """The one that ends first ends the other."""
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await direction
                tasks.cancel_scope.cancel()

            tasks.start_soon(first, answers())
            tasks.start_soon(first, self._requests(reader, writer, forth, state))

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        forth: asyncio.StreamWriter,
        state: dict[str, str],
    ) -> None:
        while data := await reader.read(65536):
            line = data.partition(b"\r\n")[0]
            if line.endswith(b"HTTP/1.1"):
                if b"/events" in line:
                    state["events"] = "yes"
                fault = self._draw(line)
                if fault == "delay":
                    await asyncio.sleep(self._random.random() * _LARGEST_DELAY_S)
                elif fault == "error":
                    # The rest of the request is not read: the connection ends with the answer.
                    writer.write(
                        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
                        b'Connection: close\r\nContent-Length: 20\r\n\r\n{"message":"broken"}'
                    )
                    return
                elif fault == "garbage":
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        b"Connection: close\r\nContent-Length: 16\r\n\r\n"
                        + self._random.randbytes(16)
                    )
                    return
                elif fault == "cut":
                    return
                else:
                    state["fault"] = fault
            forth.write(data)
            await forth.drain()
