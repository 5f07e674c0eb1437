"""What a peer may send behind the end."""

from __future__ import annotations

import socket

import anyio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from asupervisor.host.unix_stream import UnixStream
from asupervisor.streaming.websocket import WebSocket


async def test_a_ping_behind_our_close_is_not_answered() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    peer = Connection(ConnectionType.CLIENT)
    with theirs:
        async with UnixStream(ours) as stream, WebSocket(stream, client=False) as websocket:
            await websocket.close()
            theirs.sendall(peer.send(Ping(b"still there?")))
            theirs.sendall(peer.send(TextMessage("last words")))
            assert (await websocket.receive()).data == b"last words"
            await websocket.outbox.flush()
            peer.receive_data(await anyio.to_thread.run_sync(theirs.recv, 65536))
    (last,) = peer.events()
    assert isinstance(last, CloseConnection) and last.code == 1000
