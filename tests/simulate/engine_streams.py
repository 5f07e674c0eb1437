"""The engine's side of the connections that become streams."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from tests.simulate.engine import Refused
from tests.simulate.engine_http import EngineServer, path_parts


class StreamSide:
    """Where they arrive: see :class:`tests.simulate.wire.Listener`.

    Args:
        server: whose.
    """

    def __init__(self, server: EngineServer) -> None:
        self._server = server
        self.context = server.context
        self.latency = server.latency

    def accept(self) -> asyncio.Protocol:
        """See :class:`tests.simulate.wire.Listener`."""
        if not self._server.listening:
            raise ConnectionRefusedError(111, "Connection refused")
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        return asyncio.StreamReaderProtocol(reader, self._arrived, loop=loop)

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server.transports.append(writer.transport)
        with suppress(EOFError, ConnectionError):
            await self._serve(reader, writer.transport)

    async def _serve(self, reader: asyncio.StreamReader, transport: Any) -> None:
        server, execs = self._server, self._server.engine.execs
        path, length = _request(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(length)
        parts = path_parts(path.partition("?")[0])
        await server.thawed.wait()
        fault = await server.meet(transport, f"POST /{'/'.join(parts)}"[:60])
        if fault in ("500", "503"):
            transport.write(_refusal(int(fault), "the engine is not well"))
            return
        if fault == "garbage":
            transport.write(b"<html>gateway</html>\r\n\r\n")
            return
        try:
            command = server.command(parts[1]) if parts[0] == "exec" else None
            box = server.engine.find(parts[1]) if command is None else command.box
        except Refused as refused:
            transport.write(_refusal(refused.status, refused.message))
            return
        transport.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        if command is not None:
            execs.start(command, transport, reader)
        else:
            execs.attach(box, transport)
        if fault in ("cut after", "half"):
            transport.cut()


def _request(head: bytes) -> tuple[str, int]:
    """The path of a request, and the length of its body."""
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return first.split(" ")[1], int(fields.get("content-length", "0"))


def _refusal(status: int, message: str) -> bytes:
    body = json.dumps({"message": message}).encode()
    return f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Echo(asyncio.Protocol):
    """What listens on a pod's port: it sends everything back."""

    def connection_made(self, transport: Any) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport.write(data)
