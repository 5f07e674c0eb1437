"""The output of a command is whole or an error."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from asupervisor.engine.client import EngineClient
from asupervisor.errors import Unavailable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
FRAME = b"\x01\0\0\0\0\0\0\x02a\n"


@pytest.mark.parametrize("broken", [True, False])
async def test_a_connection_that_broke_is_told_from_one_that_was_closed(broken: bool) -> None:
    was_read = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + FRAME)
        await was_read.wait()
        if broken:
            linger = struct.pack("ii", 1, 0)
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    async def output(engine: EngineClient) -> bytes:
        got = b""
        async with engine.streams.exec_output("e") as response:
            async for chunk in response.content.iter_any():
                got += chunk
                was_read.set()
        return got

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = EngineClient(f"tcp://127.0.0.1:{port}", 10.0)
        await engine.open()
        engine.health.set_reachable()
        try:
            if broken:
                with pytest.raises(Unavailable, match="broke off"):
                    await output(engine)
            else:
                assert await output(engine) == FRAME
        finally:
            await engine.close()
